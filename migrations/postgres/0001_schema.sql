-- Names that end in _at are instants, and nothing else ends so. The program binds every instant: no statement asks the database for
-- the time. `timeline` says which clock drives a row: 'wall', or the id of a test clock. Amounts are in minor units.

-- The catalog

-- Add-ons: amounts or percentages that a subscription pays on top.
create table add_ons (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount bigint check (amount >= 0),
    percentage bigint check (percentage >= 0),
    duration bigint not null check (duration >= 0),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((amount is null) <> (percentage is null))
);

-- Discounts: amounts or percentages off what a subscription pays.
create table discounts (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount bigint check (amount >= 0),
    percentage bigint check (percentage >= 0),
    duration bigint not null check (duration >= 0),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((amount is null) <> (percentage is null))
);

-- Dunning policies: what follows a failed payment. A subscription, an installment plan or a plan may name one.
create table dunning_policies (
    id text primary key,
    reference text unique,
    name text not null,
    steps jsonb not null,
    by_class jsonb not null,
    final_action text not null check (final_action in ('cancel', 'pause', 'mark_uncollectible', 'payment_request')),
    is_default boolean not null,
    source text not null check (source in ('api', 'configuration')),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create unique index dunning_policies_one_default on dunning_policies (is_default) where is_default;

-- Plans: the terms that a subscription begins with.
create table plans (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount bigint not null check (amount >= 0),
    currency text not null,
    billing_frequency text not null,
    billing_cycle_interval bigint not null check (billing_cycle_interval >= 1),
    billing_days text,
    duration bigint not null check (duration >= 0),
    trial_days bigint not null check (trial_days >= 0),
    catch_up text not null,
    while_past_due text not null,
    business_day text not null,
    holiday_calendar text,
    dunning_policy_id text,
    add_ons jsonb not null,
    discounts jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index plans_of_dunning_policy on plans (dunning_policy_id) where dunning_policy_id is not null;

-- Roll-outs: a change of the catalog that is carried to running subscriptions, in batches by id.
create table roll_outs (
    id text primary key,
    entry_type text not null check (entry_type in ('plan', 'add_on', 'discount')),
    entry_id text not null,
    revision text not null,
    options jsonb not null,
    versions jsonb not null,
    status text not null check (status in ('running', 'done')),
    actor text not null,
    done_through text,
    plans_changed bigint not null check (plans_changed >= 0),
    subscriptions_changed bigint not null check (subscriptions_changed >= 0),
    left_alone jsonb not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    check ((status = 'done') = (finished_at is not null))
);
-- One at a time: each of two would undo the other.
create unique index roll_outs_one_running on roll_outs (entry_id) where status = 'running';
create index roll_outs_of_entry on roll_outs (entry_id, id);

-- Who pays

-- Test clocks. Each moves the time of its own customers, and no other.
create table clocks (
    id text primary key,
    name text not null,
    now_at timestamptz not null,
    status text not null check (status in ('idle', 'advancing')),
    target_at timestamptz,
    lease_owner text,
    lease_expires_at timestamptz,
    counts jsonb not null,
    created_at timestamptz not null,
    check ((status = 'advancing') = (target_at is not null))
);
create index clocks_advancing on clocks (created_at) where status = 'advancing';

-- Customers, with the credit that their next invoices use first.
create table customers (
    id text primary key,
    reference text unique,
    timeline text not null,
    name text not null,
    email text,
    phone text,
    locale text,
    timezone text not null,
    currency text not null,
    balance bigint not null check (balance >= 0),
    metadata jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index customers_of_clock on customers (timeline) where timeline <> 'wall';

-- Each change of a customer's balance.
create table credits (
    id text primary key,
    customer_id text not null references customers (id) on delete cascade,
    amount bigint not null check (amount <> 0),
    currency text not null,
    reason text not null,
    invoice_id text,
    created_at timestamptz not null
);
create index credits_of_customer on credits (customer_id, id);

-- Payment methods, as the gateways' tokens. No card number is ever stored.
create table payment_methods (
    id text primary key,
    customer_id text not null references customers (id) on delete cascade,
    gateway text not null,
    kind text not null check (kind in ('vault_token', 'prior_transaction', 'payment_request')),
    customer_token text,
    payment_method_token text,
    transaction_id text,
    channels jsonb not null,
    expires text,
    last_four text,
    is_default boolean not null,
    priority bigint not null,
    -- The issuer stopped recurring charges.
    mandate_ended_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((kind = 'vault_token') = (customer_token is not null)),
    check ((kind = 'prior_transaction') = (transaction_id is not null))
);
create index payment_methods_of_customer on payment_methods (customer_id, is_default, priority);
create unique index payment_methods_one_default on payment_methods (customer_id) where is_default;

-- What is billed

-- Subscriptions: terms of their own, and where each stands in its schedule.
create table subscriptions (
    id text primary key,
    customer_id text not null references customers (id) on delete cascade,
    plan_id text,
    payment_method_id text,
    timeline text not null,
    status text not null check (status in ('trialing', 'active', 'past_due', 'paused', 'parked', 'completed', 'cancelled')),
    description text not null,
    currency text not null,
    amount bigint not null check (amount >= 0),
    quantity bigint not null check (quantity >= 1),
    billing_frequency text not null,
    billing_cycle_interval bigint not null check (billing_cycle_interval >= 1),
    billing_days text,
    duration bigint not null check (duration >= 0),
    ends_on date,
    trial_ends_on date,
    timezone text not null,
    first_period text not null,
    catch_up text not null,
    while_past_due text not null,
    business_day text not null,
    holiday_calendar text,
    initial_payment_amount bigint check (initial_payment_amount >= 0),
    authorize_days_before bigint check (authorize_days_before >= 0),
    dunning_policy_id text,
    add_ons jsonb not null,
    discounts jsonb not null,
    metadata jsonb not null,
    anchor_date date not null,
    next_slot bigint not null check (next_slot >= 0),
    next_cycle bigint not null check (next_cycle >= 0),
    cycles_billed bigint not null check (cycles_billed >= 0),
    next_bill_date date,
    next_bill_at timestamptz,
    due_at timestamptz,
    -- When the authorization of this subscription is looked at next. Every change of the subscription sets it anew.
    authorize_at timestamptz,
    period_start date,
    period_end date,
    moved_to date,
    -- The first day of a pause.
    paused_on date,
    paused_until date,
    pause_at_period_end boolean not null,
    -- What a pause gave back as credit. The end of the pause charges it again.
    credited_days jsonb,
    cancel_at_period_end boolean not null,
    pending_change jsonb,
    parked_reason text,
    cancelled_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check (status not in ('cancelled', 'completed', 'parked') or due_at is null),
    check ((status = 'parked') = (parked_reason is not null))
);
create index subscriptions_due on subscriptions (timeline, due_at) where due_at is not null;
create index subscriptions_of_customer on subscriptions (customer_id);
create index subscriptions_of_plan on subscriptions (plan_id);
create index subscriptions_parked on subscriptions (id) where status = 'parked';
create index subscriptions_running_of_plan on subscriptions (plan_id, id) where status not in ('completed', 'cancelled');
create index subscriptions_of_dunning_policy on subscriptions (dunning_policy_id) where dunning_policy_id is not null;
create index subscriptions_adrift on subscriptions (id)
    where due_at is null and next_bill_at is not null and status in ('trialing', 'active');
create index subscriptions_to_authorize on subscriptions (timeline, authorize_at) where authorize_at is not null;

-- Installment plans: a fixed total in dated parts. Locking the plan locks its installments too.
create table installment_plans (
    id text primary key,
    reference text unique,
    customer_id text not null references customers (id) on delete cascade,
    payment_method_id text,
    timeline text not null,
    status text not null check (status in ('open', 'paid', 'defaulted', 'cancelled')),
    description text not null,
    currency text not null,
    amount bigint not null check (amount > 0),
    down_payment bigint not null check (down_payment >= 0 and down_payment < amount),
    timezone text not null,
    billing_frequency text,
    billing_cycle_interval bigint check (billing_cycle_interval >= 1),
    billing_days text,
    -- From which the dates of a recurrence are laid. Null for a plan of explicit dates.
    anchor_date date,
    business_day text not null,
    holiday_calendar text,
    dunning_policy_id text,
    default_after bigint not null check (default_after >= 0),
    failed_in_a_row bigint not null check (failed_in_a_row >= 0),
    metadata jsonb not null,
    due_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check (status = 'open' or due_at is null),
    check ((status = 'open') = (ended_at is null))
);
create index installment_plans_due on installment_plans (timeline, due_at) where due_at is not null;
create index installment_plans_of_customer on installment_plans (customer_id);
create index installment_plans_of_dunning_policy on installment_plans (dunning_policy_id) where dunning_policy_id is not null;

-- The parts of installment plans.
create table installments (
    id text primary key,
    installment_plan_id text not null references installment_plans (id) on delete cascade,
    number bigint not null check (number >= 0),
    date date not null,
    due_at timestamptz not null,
    amount bigint not null check (amount > 0),
    status text not null check (status in ('scheduled', 'due', 'paid', 'paid_elsewhere', 'failed', 'moved', 'cancelled')),
    invoice_id text,
    unique (installment_plan_id, number),
    check (status not in ('due', 'paid', 'failed') or invoice_id is not null),
    check (status not in ('scheduled', 'paid_elsewhere') or invoice_id is null)
);
create index installments_scheduled on installments (installment_plan_id, due_at) where status = 'scheduled';
create index installments_of_invoice on installments (invoice_id) where invoice_id is not null;

-- The last number given out, by name.
create table counters (
    name text primary key,
    value bigint not null check (value >= 0)
);
insert into counters (name, value) values ('invoice', 0);

-- Invoices: of a cycle of a subscription, or of an installment.
create table invoices (
    id text primary key,
    number text not null unique,
    customer_id text not null references customers (id) on delete cascade,
    subscription_id text references subscriptions (id) on delete cascade,
    installment_plan_id text,
    installment_number bigint check (installment_number >= 0),
    cycle bigint,
    timeline text not null,
    status text not null check (status in ('open', 'paid', 'void', 'uncollectible')),
    description text not null,
    currency text not null,
    timezone text not null,
    period_start date,
    period_end date,
    lines jsonb not null,
    subtotal bigint not null check (subtotal >= 0),
    credit_applied bigint not null check (credit_applied >= 0),
    total bigint not null check (total = subtotal - credit_applied and total >= 0),
    amount_paid bigint not null check (amount_paid >= 0 and amount_paid <= total),
    amount_refunded bigint not null check (amount_refunded >= 0),
    -- Refunded to the balance of the customer.
    amount_credited bigint not null check (amount_credited >= 0 and amount_credited <= subtotal - amount_refunded),
    due_at timestamptz not null,
    next_attempt_at timestamptz,
    next_action text not null check (next_action in ('charge', 'give_up')),
    attempts bigint not null check (attempts >= 0),
    gateway_faults bigint not null check (gateway_faults >= 0),
    dunning_step bigint not null check (dunning_step >= 0),
    first_failed_at timestamptz,
    -- The latest failure. It decides which of the policy's ladders the invoice is on.
    decline_class text,
    decline_code text,
    -- Whether the next attempt uses the next stored method.
    next_method boolean not null,
    -- Why an attempt that was due waits.
    postponed_by text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (subscription_id, cycle),
    check (status = 'open' or next_attempt_at is null),
    check (status <> 'paid' or amount_paid = total)
);
create index invoices_due on invoices (timeline, next_attempt_at) where next_attempt_at is not null;
create index invoices_open on invoices (customer_id) where status = 'open';
create index invoices_open_of_subscription on invoices (subscription_id) where status = 'open';
create index invoices_of_customer on invoices (customer_id, id);
-- Nobody is charged twice: an installment has one invoice, whatever becomes of it.
create unique index invoices_of_installment on invoices (installment_plan_id, installment_number) where installment_plan_id is not null;
create index invoices_waiting on invoices (id) where status = 'open' and next_attempt_at is null;

-- Money

-- Payment requests: the customer is asked to pay by e-mail, SMS or link. A card may pay the invoice meanwhile.
create table payment_requests (
    id text primary key,
    -- Null: the gateway charges by a schedule of its own, and each of its payments gets an invoice of its own.
    invoice_id text references invoices (id) on delete cascade,
    customer_id text not null references customers (id) on delete cascade,
    payment_method_id text,
    timeline text not null,
    gateway text not null,
    role text not null check (role in ('attempt', 'last', 'extra', 'schedule')),
    reference text not null unique,
    status text not null check (status in ('pending', 'unknown', 'sent', 'running', 'paid', 'expired', 'withdrawn', 'refused', 'parked')),
    -- Why it is being closed, until the gateway confirms it.
    ending text check (ending in ('expired', 'withdrawn')),
    channels jsonb not null,
    name text not null,
    email text,
    phone text,
    locale text,
    description text not null,
    amount bigint not null check (amount > 0),
    currency text not null,
    -- The gateway's own schedule.
    payment_frequency text check (payment_frequency in ('weekly', 'monthly', 'quarterly', 'yearly')),
    payment_start_at timestamptz,
    total_number_of_payments bigint check (total_number_of_payments > 0),
    initial_payment_amount bigint check (initial_payment_amount > 0),
    -- The payment by which the customer agreed to it.
    agreement_id text,
    -- The gateway's own id, where the gateway keeps requests.
    request_id text,
    link text,
    message text,
    -- The gateway did not let it be withdrawn, so it may still be paid.
    kept boolean not null,
    asks bigint not null check (asks >= 0),
    reminders bigint not null check (reminders >= 0),
    remind boolean not null,
    expires_at timestamptz not null,
    next_reminder_at timestamptz,
    lease_owner text,
    lease_token bigint not null,
    checks bigint not null check (checks >= 0),
    next_check_at timestamptz,
    -- When it was last looked at.
    claimed_at timestamptz,
    -- When somebody last said that something has happened to it.
    notified_at timestamptz,
    gateway_expires_at timestamptz not null,
    sent_at timestamptz not null,
    created_at timestamptz not null,
    resolved_at timestamptz,
    check (ending is null or status in ('pending', 'unknown', 'sent', 'running')),
    check ((role = 'schedule') = (invoice_id is null)),
    check ((invoice_id is null) = (payment_frequency is not null)),
    check ((payment_frequency is null) = (payment_start_at is null))
);
-- Collection has one request open for an invoice; an operator may send others beside it.
create unique index payment_requests_one_open on payment_requests (invoice_id)
    where status in ('pending', 'unknown', 'sent') and role in ('attempt', 'last');
create index payment_requests_of_customer on payment_requests (customer_id);
create index payment_requests_of_invoice on payment_requests (invoice_id);
create index payment_requests_open on payment_requests (timeline, expires_at)
    where status in ('pending', 'unknown', 'sent') and ending is null;
create index payment_requests_reminders on payment_requests (timeline, next_reminder_at) where next_reminder_at is not null;
create index payment_requests_to_check on payment_requests (next_check_at) where next_check_at is not null;
create index payment_requests_checks_of on payment_requests (timeline, next_check_at) where next_check_at is not null;
create index payment_requests_busy on payment_requests (timeline)
    where status in ('pending', 'unknown', 'sent', 'running') and (status in ('pending', 'unknown') or ending is not null or remind);
create index payment_requests_not_closed on payment_requests (id) where status in ('pending', 'unknown', 'sent', 'running');
create index payment_requests_parked on payment_requests (id) where status = 'parked';

-- Payments: written before the gateway is called, and settled by its answer.
create table payments (
    id text primary key,
    invoice_id text not null references invoices (id) on delete cascade,
    customer_id text not null,
    payment_method_id text,
    -- The payment request that brought this payment.
    payment_request_id text,
    timeline text not null,
    attempt bigint not null,
    gateway text not null,
    kind text not null,
    reference text not null unique,
    idempotency_key text not null,
    customer_token text,
    payment_method_token text,
    prior_transaction_id text,
    -- What was charged, whoever and whatever it was for. Caps on declined attempts count by it.
    credential text,
    reason text not null check (reason in ('recurring', 'installment')),
    description text not null,
    amount bigint not null check (amount > 0),
    amount_captured bigint not null check (amount_captured >= 0),
    amount_refunded bigint not null check (amount_refunded >= 0 and amount_refunded <= amount_captured),
    -- What the invoice did not need. It goes back at `return_at`.
    overpayment bigint not null check (overpayment >= 0 and overpayment <= amount_captured),
    -- What the customer's bank has taken back.
    amount_disputed bigint not null check (amount_disputed >= 0),
    currency text not null,
    status text not null check (status in ('pending', 'authorized', 'succeeded', 'declined', 'gateway_error', 'unknown', 'parked', 'refunded')),
    transaction_id text,
    -- The authorization that this payment captures.
    authorization_id text,
    decline_class text,
    decline_code text,
    decline_message text,
    lease_owner text,
    lease_token bigint not null,
    lease_expires_at timestamptz,
    lookups bigint not null check (lookups >= 0),
    next_lookup_at timestamptz,
    sent_at timestamptz not null,
    called_at timestamptz not null,
    created_at timestamptz not null,
    resolved_at timestamptz,
    return_at timestamptz
);
-- Nobody is charged twice: an invoice has one open payment.
create unique index payments_one_open on payments (invoice_id) where status in ('pending', 'authorized', 'unknown', 'parked');
create index payments_of_invoice on payments (invoice_id);
create index payments_leased on payments (lease_expires_at) where lease_expires_at is not null;
create index payments_to_look_up on payments (next_lookup_at) where next_lookup_at is not null;
create index payments_undecided on payments (timeline) where status in ('pending', 'authorized', 'unknown');
create index payments_parked on payments (id) where status = 'parked';
-- What a request brought is booked once.
create unique index payments_of_request on payments (payment_request_id, transaction_id) where payment_request_id is not null;
create index payments_to_return on payments (return_at) where return_at is not null;
create index payments_returns_of on payments (timeline, return_at) where return_at is not null;
create index payments_declined_of_credential on payments (credential, created_at) where status = 'declined';
create index payments_open_of_credential on payments (credential) where status in ('pending', 'authorized', 'unknown', 'parked');

-- Refunds: to the payment method through the gateway, or to the customer's balance, which no gateway hears of.
create table refunds (
    id text primary key,
    payment_id text references payments (id) on delete cascade,
    invoice_id text not null,
    timeline text not null,
    -- To the payment method, or to the customer's balance. A refund to the balance need not belong to a payment.
    destination text not null check (destination in ('method', 'credit')),
    amount bigint not null check (amount > 0),
    returned_before bigint not null check (returned_before >= 0),
    currency text not null,
    reason text not null,
    status text not null check (status in ('pending', 'succeeded', 'refused', 'gateway_error', 'unknown', 'parked')),
    voided boolean not null,
    transaction_id text,
    message text,
    lease_owner text,
    lease_token bigint not null,
    lease_expires_at timestamptz,
    lookups bigint not null,
    next_lookup_at timestamptz,
    sent_at timestamptz not null,
    created_at timestamptz not null,
    resolved_at timestamptz,
    check ((destination = 'method') = (payment_id is not null)),
    check (destination = 'method' or status = 'succeeded')
);
create unique index refunds_one_open on refunds (payment_id) where status in ('pending', 'unknown', 'parked');
create index refunds_of_invoice on refunds (invoice_id);
create index refunds_leased on refunds (lease_expires_at) where lease_expires_at is not null;
create index refunds_to_look_up on refunds (next_lookup_at) where next_lookup_at is not null;

-- Authorizations: money reserved before the bill date, to be captured on it.
create table authorizations (
    id text primary key,
    subscription_id text not null references subscriptions (id) on delete cascade,
    customer_id text not null,
    cycle bigint not null check (cycle >= 0),
    payment_method_id text,
    timeline text not null,
    gateway text not null,
    kind text not null,
    reference text not null unique,
    idempotency_key text not null,
    customer_token text,
    payment_method_token text,
    prior_transaction_id text,
    credential text not null,
    description text not null,
    amount bigint not null check (amount > 0),
    -- What the gateway captured of an authorization that nobody wants any more, minor units. No invoice knows of it.
    amount_taken bigint check (amount_taken > 0),
    currency text not null,
    bill_at timestamptz not null,
    status text not null check (status in ('pending', 'authorized', 'unknown', 'voiding', 'used', 'declined', 'gateway_error', 'voided', 'lost')),
    transaction_id text,
    payment_id text,
    decline_class text,
    decline_code text,
    decline_message text,
    void_reason text,
    lease_owner text,
    lease_token bigint not null,
    lease_expires_at timestamptz,
    lookups bigint not null check (lookups >= 0),
    next_lookup_at timestamptz,
    sent_at timestamptz not null,
    called_at timestamptz not null,
    expires_at timestamptz,
    created_at timestamptz not null,
    resolved_at timestamptz,
    check (status not in ('authorized', 'used') or transaction_id is not null),
    check (status <> 'used' or payment_id is not null)
);
-- A subscription keeps one authorization.
create unique index authorizations_one_open on authorizations (subscription_id)
    where status in ('pending', 'authorized', 'unknown');
create index authorizations_open on authorizations (subscription_id)
    where status in ('pending', 'authorized', 'unknown', 'voiding');
create index authorizations_of_subscription on authorizations (subscription_id, cycle);
-- Declines count toward the caps of the credential, whatever they were for.
create index authorizations_of_credential on authorizations (credential, created_at) where status in ('pending', 'unknown', 'declined');
create index authorizations_leased on authorizations (lease_expires_at) where lease_expires_at is not null;
create index authorizations_to_look_up on authorizations (next_lookup_at) where next_lookup_at is not null;
create index authorizations_undecided on authorizations (timeline) where status in ('pending', 'unknown', 'voiding');
create index authorizations_taken on authorizations (called_at) where amount_taken is not null;

-- Payments that customers' banks take back, as the gateways report them.
create table disputes (
    id text primary key,
    payment_id text not null references payments (id) on delete cascade,
    invoice_id text not null,
    customer_id text not null,
    timeline text not null,
    gateway text not null,
    transaction_id text not null,
    amount bigint not null check (amount > 0),
    currency text not null,
    status text not null check (status in ('open', 'closed')),
    reason text not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    check ((status = 'closed') = (closed_at is not null))
);
create unique index disputes_one_open on disputes (payment_id) where status = 'open';
create index disputes_of_payment on disputes (payment_id);

-- How far the job that asks about disputes has come, for payments of this age. Ids are in the order of time.
create table dispute_rounds (
    days bigint primary key check (days > 0),
    reached text not null
);

-- Operation

-- Gateways that an operator has paused. No daemon charges there until somebody resumes them.
create table gateway_pauses (
    gateway text primary key,
    reason text not null,
    actor text not null,
    paused_at timestamptz not null
);

-- Invariants that do not hold, and since when.
create table invariant_violations (
    name text primary key,
    count bigint not null check (count > 0),
    broken_at timestamptz not null
);

-- What happened, for people and for webhooks.
create table events (
    id text primary key,
    timeline text not null,
    type text not null,
    subject text not null,
    actor text not null,
    data jsonb not null,
    occurred_at timestamptz not null
);
create index events_of_subject on events (subject, id);
create index events_of_type on events (type, id);

-- API keys. Of the key itself only a digest is kept.
create table api_keys (
    id text primary key,
    name text not null,
    digest text not null unique,
    last_four text not null,
    scope text not null check (scope in ('read', 'write', 'admin')),
    created_at timestamptz not null,
    revoked_at timestamptz
);

-- Answers to requests, kept for repeats of the same request.
create table idempotency_keys (
    api_key_id text not null,
    idempotency_key text not null,
    request_digest text not null,
    status bigint,
    body text,
    created_at timestamptz not null,
    primary key (api_key_id, idempotency_key)
);
create index idempotency_keys_age on idempotency_keys (created_at);

-- Each run of a job.
create table job_runs (
    id text primary key,
    job text not null,
    instance text not null,
    result text not null check (result in ('running', 'ok', 'failed')),
    counts jsonb not null,
    error text,
    started_at timestamptz not null,
    ended_at timestamptz
);
create index job_runs_of_job on job_runs (job, id);

-- The latest occurrence of each scheduled job that any daemon has taken.
create table occurrences (
    job text primary key,
    occurs_at timestamptz not null,
    lease_owner text,
    lease_expires_at timestamptz,
    done_at timestamptz,
    check ((done_at is null) = (lease_owner is not null and lease_expires_at is not null))
);

-- The daemons that work on this database.
create table instances (
    name text primary key,
    -- Of its latest run.
    token text not null,
    version text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    -- Set by an orderly end.
    stopped_at timestamptz
);
