//! Which dunning policy an invoice is under, and what is told of a failure: all that a message to the customer needs.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::SettlementBatch;
use crate::{
    billing::{App, Result, collection::fallback_method::Stored},
    domain::{
        dunning::{DunningRules, Failure, FinalAction, Next},
        event::Actor,
        id::{DunningPolicyId, InvoiceId},
        invoice::Invoice,
        payment::Decline,
    },
    store::{self, Tx},
};

/// The policies in force as they are now, so that a change counts from the next failure on.
#[derive(Default)]
pub(super) struct Policies {
    named: HashMap<DunningPolicyId, Arc<DunningRules>>,
    /// The id is None for the ladder of the settings.
    default: Option<(Option<DunningPolicyId>, Arc<DunningRules>)>,
    stored: Stored,
}

impl SettlementBatch<'_> {
    pub(super) async fn read_policies(&mut self, tx: &mut Tx) -> Result<()> {
        let named = self.invoices.iter().filter_map(|invoice| self.names_policy(invoice));
        let mut named: Vec<DunningPolicyId> = named.collect();
        named.sort_unstable();
        named.dedup();
        self.policies.default = Some((None, self.app.dunning_rules()));
        for policy in store::dunning_policies::in_force(tx, &named).await? {
            let dunning_rules = Arc::new(policy.dunning_rules());
            if policy.is_default {
                self.policies.default = Some((Some(policy.id), dunning_rules.clone()));
            }
            self.policies.named.insert(policy.id, dunning_rules);
        }
        let falling: Vec<&Invoice> =
            self.invoices.iter().filter(|invoice| self.policy_of(invoice).1.uses_next_method()).collect();
        let stored = Stored::read(tx, &falling).await?;
        self.policies.stored = stored;
        Ok(())
    }

    fn names_policy(&self, invoice: &Invoice) -> Option<DunningPolicyId> {
        let subscription = invoice.subscription_id.and_then(|id| self.subscriptions.get(id)?.dunning_policy_id);
        subscription.or_else(|| self.installments.dunning_policy(invoice.installment_plan_id?))
    }

    /// The policy that an invoice is under: its subscription's or installment plan's own, else the default one.
    fn policy_of(&self, invoice: &Invoice) -> (Option<DunningPolicyId>, Arc<DunningRules>) {
        let own = self.names_policy(invoice).and_then(|id| Some((Some(id), self.policies.named.get(&id)?.clone())));
        own.or_else(|| self.policies.default.clone()).unwrap_or_else(|| (None, self.app.dunning_rules()))
    }

    /// What follows the failure that has just been counted.
    pub(super) fn next_step(&self, invoice: &Invoice, decline: &Decline, now: DateTime<Utc>) -> Next {
        let (_, dunning_rules) = self.policy_of(invoice);
        let under_way = self.payments.iter().filter(|payment| payment.invoice_id == invoice.id);
        let tried = |credential: &str| under_way.clone().any(|payment| payment.credential.as_deref() == Some(credential));
        let failure = Failure {
            class: decline.class,
            count: invoice.dunning_step,
            first_failed_at: invoice.first_failed_at.unwrap_or(now),
            now,
            zone: invoice.timezone.0,
            another_method: self.policies.stored.untried(self.app, invoice, now, tried).is_some(),
        };
        dunning_rules.after(&failure, self.app.rules.bill_at)
    }

    /// How the ladder of an invoice ends. None: an operator decides.
    pub(super) fn final_action(&self, id: InvoiceId) -> Option<FinalAction> {
        match self.invoices.get(id) {
            Some(invoice) => self.policy_of(invoice).1.ladder(invoice.decline_class).final_action,
            None => Some(self.app.dunning_rules().final_action),
        }
    }

    /// Says what became of an invoice after a failure.
    pub(super) fn tell_failure(&mut self, id: InvoiceId, decline: &Decline, next: Next) {
        let Some(invoice) = self.invoices.get(id) else { return };
        let (policy, dunning_rules) = self.policy_of(invoice);
        let ladder = dunning_rules.ladder(Some(decline.class));
        let (next_attempt_at, gives_up_at) = match next {
            Next::RetryAt { at, .. } => (Some(at), None),
            Next::GiveUpAt(at) => (None, Some(at)),
            Next::GiveUp | Next::Stop => (None, None),
        };
        let final_action = if next == Next::Stop { Some(FinalAction::Cancel) } else { ladder.final_action };
        let data: Value = json!({
            "customer_id": invoice.customer_id,
            "subscription_id": invoice.subscription_id,
            "installment_plan_id": invoice.installment_plan_id,
            "dunning_policy_id": policy,
            "amount_due": invoice.amount_due(),
            "currency": invoice.currency,
            "class": decline.class,
            "code": decline.code,
            "step": invoice.dunning_step,
            "steps": ladder.steps.len(),
            "channels": ladder.step_after(invoice.dunning_step).map_or(&[][..], |step| &step.channels),
            "next_attempt_at": next_attempt_at,
            "next_method": matches!(next, Next::RetryAt { next_method: true, .. }),
            "gives_up_at": gives_up_at,
            "final_action": final_action,
            "is_final": matches!(next, Next::GiveUp | Next::Stop),
        });
        self.event("invoice.dunning", id, data, &Actor::System);
    }
}

impl App {
    /// The ladder of the settings, which holds where no policy does.
    pub fn dunning_rules(&self) -> Arc<DunningRules> {
        self.dunning_rules.read().clone()
    }

    pub fn set_dunning_rules(&self, dunning_rules: DunningRules) {
        *self.dunning_rules.write() = Arc::new(dunning_rules);
    }
}
