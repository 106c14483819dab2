-- Instants end in _at and are always bound by the program: no statement asks the database for the time.
-- "timeline" says which clock drives a row: 'wall', or the id of a test clock.

create table counters (
    name text primary key,
    value bigint not null check (value >= 0)
);
insert into counters (name, value) values ('invoice', 0);

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

create table api_keys (
    id text primary key,
    name text not null,
    digest text not null unique,
    last_four text not null,
    scope text not null check (scope in ('read', 'write', 'admin')),
    created_at timestamptz not null,
    revoked_at timestamptz
);

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
    add_ons jsonb not null,
    discounts jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

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
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check ((kind = 'vault_token') = (customer_token is not null)),
    check ((kind = 'prior_transaction') = (transaction_id is not null))
);
create index payment_methods_of_customer on payment_methods (customer_id, is_default, priority);
create unique index payment_methods_one_default on payment_methods (customer_id) where is_default;

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
    period_start date,
    period_end date,
    moved_to date,
    paused_until date,
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

create table invoices (
    id text primary key,
    number text not null unique,
    customer_id text not null references customers (id) on delete cascade,
    subscription_id text references subscriptions (id) on delete cascade,
    installment_plan_id text,
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
    due_at timestamptz not null,
    next_attempt_at timestamptz,
    next_action text not null check (next_action in ('charge', 'give_up')),
    attempts bigint not null check (attempts >= 0),
    gateway_faults bigint not null check (gateway_faults >= 0),
    dunning_step bigint not null check (dunning_step >= 0),
    first_failed_at timestamptz,
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

create table payments (
    id text primary key,
    invoice_id text not null references invoices (id) on delete cascade,
    customer_id text not null,
    payment_method_id text,
    timeline text not null,
    attempt bigint not null,
    gateway text not null,
    kind text not null,
    reference text not null unique,
    idempotency_key text not null,
    customer_token text,
    payment_method_token text,
    prior_transaction_id text,
    description text not null,
    amount bigint not null check (amount > 0),
    amount_captured bigint not null check (amount_captured >= 0),
    amount_refunded bigint not null check (amount_refunded >= 0 and amount_refunded <= amount_captured),
    currency text not null,
    status text not null check (status in ('pending', 'authorized', 'succeeded', 'declined', 'gateway_error', 'unknown', 'parked', 'refunded')),
    transaction_id text,
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
    resolved_at timestamptz
);
-- Never twice: while a payment is open its invoice takes no other.
create unique index payments_one_open on payments (invoice_id) where status in ('pending', 'authorized', 'unknown', 'parked');
create index payments_of_invoice on payments (invoice_id);
create index payments_leased on payments (lease_expires_at) where lease_expires_at is not null;
create index payments_to_look_up on payments (next_lookup_at) where next_lookup_at is not null;
create index payments_undecided on payments (timeline) where status in ('pending', 'authorized', 'unknown');
create index payments_parked on payments (id) where status = 'parked';

create table refunds (
    id text primary key,
    payment_id text not null references payments (id) on delete cascade,
    invoice_id text not null,
    timeline text not null,
    amount bigint not null check (amount > 0),
    returned_before bigint not null check (returned_before >= 0),
    currency text not null,
    reason text not null,
    status text not null check (status in ('pending', 'succeeded', 'refused', 'gateway_error', 'unknown', 'parked')),
    voided boolean not null,
    transaction_id text,
    message text,
    lease_owner text,
    lease_expires_at timestamptz,
    lookups bigint not null,
    next_lookup_at timestamptz,
    sent_at timestamptz not null,
    created_at timestamptz not null,
    resolved_at timestamptz
);
create unique index refunds_one_open on refunds (payment_id) where status in ('pending', 'unknown', 'parked');
create index refunds_of_invoice on refunds (invoice_id);
create index refunds_leased on refunds (lease_expires_at) where lease_expires_at is not null;
create index refunds_to_look_up on refunds (next_lookup_at) where next_lookup_at is not null;

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
