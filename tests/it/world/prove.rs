//! The proof that both sides' books agree, and that ours agree with themselves.

use std::collections::{BTreeMap, BTreeSet};

use rebilld::{
    billing::{App, invariants},
    domain::{
        credit_note::CreditNote,
        customer::{Credit, Customer},
        installment_plan::{Installment, InstallmentPlan, InstallmentSchedule, InstallmentStatus},
        invoice::{Invoice, InvoiceStatus},
        payment::Payment,
        payment_method::MethodKind,
        payment_request::{PaymentRequest, RequestStatus},
        refund::{Refund, RefundStatus, RefundTo},
        subscription::Subscription,
    },
    sandbox::{self, Movement},
};

pub async fn prove(app: &App, ledger: &[sandbox::LedgerEntry]) -> usize {
    let payments: Vec<Payment> = app.db.query("select * from payments").all().await.expect("payments");
    // What customers paid by hand goes by the gateway's own ids: several links may bear one reference.
    let by_hand = |payment: &&Payment| payment.kind == MethodKind::PaymentRequest;
    let by_hand: BTreeSet<String> =
        payments.iter().filter(by_hand).filter_map(|payment| payment.transaction_id.clone()).collect();
    let mut theirs: BTreeMap<String, i64> = BTreeMap::new();
    let mut moves: BTreeMap<String, usize> = BTreeMap::new();
    for entry in ledger {
        let sign = if matches!(entry.kind, Movement::Charge | Movement::Capture | Movement::DisputeWon) { 1 } else { -1 };
        let manual = entry.gateway == sandbox::SandboxGateway::Paysley || by_hand.contains(&entry.transaction_id);
        let name = if manual { &entry.transaction_id } else { &entry.reference };
        *theirs.entry(name.clone()).or_default() += sign * entry.amount;
        *moves.entry(name.clone()).or_default() += usize::from(matches!(entry.kind, Movement::Charge | Movement::Capture));
    }
    let name = |payment: &Payment| match payment.kind {
        MethodKind::PaymentRequest => payment.transaction_id.clone().unwrap_or_default(),
        _ => payment.reference.clone(),
    };
    let ours: BTreeMap<String, i64> = payments
        .iter()
        .filter(|payment| payment.amount_captured > 0)
        .map(|payment| (name(payment), payment.amount_captured - payment.amount_refunded - payment.amount_disputed))
        .collect();
    let differing: Vec<String> = theirs
        .keys()
        .chain(ours.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|reference| theirs.get(*reference) != ours.get(*reference))
        .map(|reference| {
            let payment = payments.iter().find(|payment| name(payment) == *reference);
            let entries: Vec<_> =
                ledger.iter().filter(|entry| entry.reference == *reference || entry.transaction_id == *reference).collect();
            format!("theirs {:?}, ours {:?}\n  {payment:?}\n  {entries:?}", theirs.get(reference), ours.get(reference))
        })
        .collect();
    assert!(differing.is_empty(), "the books differ:\n{}", differing.join("\n"));
    assert!(moves.values().all(|&count| count == 1), "a payment was taken twice");
    let undecided: Vec<_> = payments.iter().filter(|payment| payment.status.is_open()).collect();
    assert!(undecided.is_empty(), "left undecided: {undecided:?}");

    let invoices: Vec<Invoice> =
        app.db.query("select * from invoices order by subscription_id, cycle").all().await.expect("invoices");
    let mut paid: BTreeMap<_, i64> = BTreeMap::new();
    for payment in &payments {
        *paid.entry(payment.invoice_id).or_default() += payment.amount_captured - payment.overpayment;
        assert!(payment.overpayment <= payment.amount_refunded, "a overpayment has not gone back: {payment:?}");
    }
    prove_refunds(app, &invoices, &payments).await;
    prove_requests(app, &invoices, &payments).await;
    for invoice in &invoices {
        assert_eq!(invoice.paid_by_gateways(), paid.get(&invoice.id).copied().unwrap_or(0), "what {} was paid", invoice.number);
        assert_eq!(invoice.lines.iter().map(|line| line.amount).sum::<i64>(), invoice.subtotal, "lines of {}", invoice.number);
    }
    let subscriptions: Vec<Subscription> = app.db.query("select * from subscriptions").all().await.expect("subscriptions");
    for subscription in subscriptions {
        let cycles: Vec<i64> = invoices
            .iter()
            .filter(|invoice| invoice.subscription_id == Some(subscription.id))
            .filter_map(|invoice| invoice.cycle)
            .collect();
        assert_eq!(cycles, (0..subscription.next_cycle).collect::<Vec<_>>(), "cycles of {}", subscription.id);
    }
    prove_installments(app, &invoices).await;
    prove_sums(app).await;
    ours.len()
}

/// The sums that the daemon checks by itself, but for what a dispute takes away from under a credit.
async fn prove_sums(app: &App) {
    const SUMS: [&str; 6] = [
        "invoices_overpaid",
        "invoices_disagree",
        "refunds_disagree",
        "credit_notes_disagree",
        "payments_disagree",
        "balances_disagree",
    ];
    let checked = invariants::check(app).await.expect("checked");
    for one in checked.iter().filter(|one| SUMS.contains(&one.invariant.name)) {
        assert!(one.holds(), "{}: {:?}", one.invariant.name, one.found);
    }
}

/// What went back through gateways and what became credit stand apart, together never exceed what came, and each customer's balance
/// is the sum of their ledger.
async fn prove_refunds(app: &App, invoices: &[Invoice], payments: &[Payment]) {
    let refunds: Vec<Refund> = app.db.query("select * from refunds").all().await.expect("refunds");
    let gone = |invoice: &Invoice, to| -> i64 {
        let of = |refund: &&Refund| refund.invoice_id == invoice.id && refund.destination == to;
        refunds.iter().filter(of).filter(|refund| refund.status == RefundStatus::Succeeded).map(|refund| refund.amount).sum()
    };
    let credits: Vec<Credit> = app.db.query("select * from credits").all().await.expect("credits");
    let notes: Vec<CreditNote> = app.db.query("select * from credit_notes").all().await.expect("credit notes");
    for invoice in invoices {
        let number = &invoice.number;
        let returned: i64 =
            payments.iter().filter(|payment| payment.invoice_id == invoice.id).map(|payment| payment.amount_refunded).sum();
        let overpayment: i64 =
            payments.iter().filter(|payment| payment.invoice_id == invoice.id).map(|payment| payment.overpayment).sum();
        assert_eq!(invoice.amount_refunded, returned - overpayment, "given back of {number}");
        assert_eq!(gone(invoice, RefundTo::Method), returned, "refunds of {number}");
        assert_eq!(invoice.amount_credited, gone(invoice, RefundTo::Credit), "credited of {number}");
        assert!(invoice.amount_kept() >= invoice.credit_given, "{number}: more back than came: {invoice:?}");
        assert!(invoice.credited() <= invoice.charged(), "{number}: more credited than charged: {invoice:?}");
        let of_it = || notes.iter().filter(|note| note.invoice_id == invoice.id);
        assert_eq!(of_it().map(|note| note.amount).sum::<i64>(), invoice.credited(), "credit notes of {number}");
        for note in of_it() {
            assert_eq!(note.lines.iter().map(|line| line.amount).sum::<i64>(), note.amount, "lines of {}", note.number);
        }
        // Used, and given back: what the ledger says of an invoice is what the invoice and its credit notes say.
        let booked: i64 = credits.iter().filter(|credit| credit.invoice_id == Some(invoice.id)).map(|credit| credit.amount).sum();
        let given: i64 = of_it().map(|note| note.to_balance).sum();
        assert_eq!(booked, given - invoice.credit_applied - invoice.credit_paid, "credit of {number}");
    }
    let customers: Vec<Customer> = app.db.query("select * from customers").all().await.expect("customers");
    for customer in customers {
        let ledger: i64 = credits.iter().filter(|credit| credit.customer_id == customer.id).map(|credit| credit.amount).sum();
        assert_eq!(customer.balance, ledger, "credit of {}", customer.id);
        assert!(customer.balance >= 0, "{} has {}", customer.id, customer.balance);
        let of_it =
            || payments.iter().filter(|payment| payment.customer_id == customer.id && payment.currency == customer.currency);
        let received: i64 = of_it().map(|payment| payment.amount_captured - payment.amount_refunded).sum();
        let granted: i64 = credits
            .iter()
            .filter(|credit| credit.customer_id == customer.id && credit.invoice_id.is_none())
            .map(|credit| credit.amount)
            .sum();
        assert!(customer.balance <= received + granted, "{} has credit for money that never came", customer.id);
    }
}

/// A request is paid if it brought money, and only then; nobody is asked for what is closed.
async fn prove_requests(app: &App, invoices: &[Invoice], payments: &[Payment]) {
    let requests: Vec<PaymentRequest> = app.db.query("select * from payment_requests").all().await.expect("requests");
    for request in &requests {
        let brought = payments.iter().any(|payment| {
            payment.payment_request_id == Some(request.id) && payment.amount_captured > 0 && payment.currency == request.currency
        });
        if request.invoice_id.is_some() {
            assert_eq!(request.status == RequestStatus::Paid, brought, "{request:?}");
        }
        let invoice = invoices.iter().find(|invoice| Some(invoice.id) == request.invoice_id);
        let in_vain = request.status.is_open() && request.ending.is_none();
        assert!(!in_vain || invoice.is_none_or(|invoice| invoice.status == InvoiceStatus::Open), "asked in vain: {request:?}");
    }
    for payment in payments.iter().filter(|payment| payment.kind == MethodKind::PaymentRequest) {
        let request = requests.iter().find(|request| Some(request.id) == payment.payment_request_id).expect("its request");
        assert_eq!((&request.gateway, request.customer_id), (&payment.gateway, payment.customer_id), "{payment:?}");
    }
}

/// Every installment plan adds up, and each of its installments is in one invoice at most, which says the same of it.
async fn prove_installments(app: &App, invoices: &[Invoice]) {
    let plans: Vec<InstallmentPlan> = app.db.query("select * from installment_plans").all().await.expect("plans");
    let all: Vec<Installment> = app.db.query("select * from installments order by number").all().await.expect("installments");
    for plan in plans {
        let installments: Vec<_> = all.iter().filter(|part| part.installment_plan_id == plan.id).cloned().collect();
        let mut schedule = InstallmentSchedule { plan, installments };
        schedule.check().expect("adds up");
        let (stored, (owed, _)) = (schedule.plan.due_at, schedule.standing());
        schedule.refresh();
        assert_eq!(stored, schedule.plan.due_at, "when {} is due", schedule.plan.id);
        assert!(owed || !schedule.plan.is_running(), "{} owes nothing and has not ended", schedule.plan.id);
        let invoices: Vec<_> = invoices.iter().filter(|invoice| invoice.installment_plan_id == Some(schedule.plan.id)).collect();
        for invoice in &invoices {
            let covered: Vec<_> = schedule.installments.iter().filter(|part| part.invoice_id == Some(invoice.id)).collect();
            assert_eq!(invoice.installment_number, covered.iter().map(|part| part.number).min(), "{}", invoice.number);
            assert_eq!(invoice.subtotal, covered.iter().map(|part| part.amount).sum::<i64>(), "{}", invoice.number);
        }
        for part in &schedule.installments {
            let invoice = invoices.iter().find(|invoice| Some(invoice.id) == part.invoice_id).map(|invoice| invoice.status);
            let agrees = match part.status {
                InstallmentStatus::Scheduled | InstallmentStatus::PaidElsewhere => invoice.is_none(),
                InstallmentStatus::Moved => matches!(invoice, None | Some(InvoiceStatus::Void)),
                InstallmentStatus::Due => invoice == Some(InvoiceStatus::Open),
                InstallmentStatus::Paid => invoice == Some(InvoiceStatus::Paid),
                InstallmentStatus::Failed => invoice == Some(InvoiceStatus::Uncollectible),
                InstallmentStatus::Cancelled => !matches!(invoice, Some(InvoiceStatus::Open | InvoiceStatus::Paid)),
            };
            assert!(agrees, "{part:?} has an invoice that is {invoice:?}");
        }
    }
}
