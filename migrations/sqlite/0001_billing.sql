-- Instants end in _at and are always bound by the program: no statement asks the database for the time.
-- "timeline" says which clock drives a row: 'wall', or the id of a test clock.

create table counters (
    name text primary key,
    value integer not null check (value >= 0)
) strict;
insert into counters (name, value) values ('invoice', 0);

create table clocks (
    id text primary key,
    name text not null,
    now_at text not null,
    status text not null check (status in ('idle', 'advancing')),
    target_at text,
    lease_owner text,
    lease_expires_at text,
    counts text not null check (json_valid(counts)),
    created_at text not null,
    check ((status = 'advancing') = (target_at is not null))
) strict;
create index clocks_advancing on clocks (created_at) where status = 'advancing';

create table api_keys (
    id text primary key,
    name text not null,
    digest text not null unique,
    last_four text not null,
    scope text not null check (scope in ('read', 'write', 'admin')),
    created_at text not null,
    revoked_at text
) strict;

create table idempotency_keys (
    api_key_id text not null,
    idempotency_key text not null,
    request_digest text not null,
    status integer,
    body text,
    created_at text not null,
    primary key (api_key_id, idempotency_key)
) strict;
create index idempotency_keys_age on idempotency_keys (created_at);

create table add_ons (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount integer check (amount >= 0),
    percentage integer check (percentage >= 0),
    duration integer not null check (duration >= 0),
    created_at text not null,
    updated_at text not null,
    check ((amount is null) <> (percentage is null))
) strict;

create table discounts (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount integer check (amount >= 0),
    percentage integer check (percentage >= 0),
    duration integer not null check (duration >= 0),
    created_at text not null,
    updated_at text not null,
    check ((amount is null) <> (percentage is null))
) strict;

create table plans (
    id text primary key,
    reference text unique,
    name text not null,
    description text not null,
    amount integer not null check (amount >= 0),
    currency text not null,
    billing_frequency text not null,
    billing_cycle_interval integer not null check (billing_cycle_interval >= 1),
    billing_days text,
    duration integer not null check (duration >= 0),
    trial_days integer not null check (trial_days >= 0),
    catch_up text not null,
    while_past_due text not null,
    business_day text not null,
    holiday_calendar text,
    add_ons text not null check (json_valid(add_ons)),
    discounts text not null check (json_valid(discounts)),
    created_at text not null,
    updated_at text not null
) strict;

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
    balance integer not null check (balance >= 0),
    metadata text not null check (json_valid(metadata)),
    created_at text not null,
    updated_at text not null
) strict;
create index customers_of_clock on customers (timeline) where timeline <> 'wall';

create table credits (
    id text primary key,
    customer_id text not null references customers (id) on delete cascade,
    amount integer not null check (amount <> 0),
    currency text not null,
    reason text not null,
    invoice_id text,
    created_at text not null
) strict;
create index credits_of_customer on credits (customer_id, id);

create table payment_methods (
    id text primary key,
    customer_id text not null references customers (id) on delete cascade,
    gateway text not null,
    kind text not null check (kind in ('vault_token', 'prior_transaction', 'payment_request')),
    customer_token text,
    payment_method_token text,
    transaction_id text,
    channels text not null check (json_valid(channels)),
    expires text,
    last_four text,
    is_default integer not null check (is_default in (0, 1)),
    priority integer not null,
    created_at text not null,
    updated_at text not null,
    check ((kind = 'vault_token') = (customer_token is not null)),
    check ((kind = 'prior_transaction') = (transaction_id is not null))
) strict;
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
    amount integer not null check (amount >= 0),
    quantity integer not null check (quantity >= 1),
    billing_frequency text not null,
    billing_cycle_interval integer not null check (billing_cycle_interval >= 1),
    billing_days text,
    duration integer not null check (duration >= 0),
    ends_on text,
    trial_ends_on text,
    timezone text not null,
    first_period text not null,
    catch_up text not null,
    while_past_due text not null,
    business_day text not null,
    holiday_calendar text,
    initial_payment_amount integer check (initial_payment_amount >= 0),
    authorize_days_before integer check (authorize_days_before >= 0),
    dunning_policy_id text,
    add_ons text not null check (json_valid(add_ons)),
    discounts text not null check (json_valid(discounts)),
    metadata text not null check (json_valid(metadata)),
    anchor_date text not null,
    next_slot integer not null check (next_slot >= 0),
    next_cycle integer not null check (next_cycle >= 0),
    cycles_billed integer not null check (cycles_billed >= 0),
    next_bill_date text,
    next_bill_at text,
    due_at text,
    period_start text,
    period_end text,
    moved_to text,
    paused_until text,
    cancel_at_period_end integer not null check (cancel_at_period_end in (0, 1)),
    pending_change text check (json_valid(pending_change)),
    parked_reason text,
    cancelled_at text,
    created_at text not null,
    updated_at text not null,
    check (status not in ('cancelled', 'completed', 'parked') or due_at is null),
    check ((status = 'parked') = (parked_reason is not null))
) strict;
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
    cycle integer,
    timeline text not null,
    status text not null check (status in ('open', 'paid', 'void', 'uncollectible')),
    description text not null,
    currency text not null,
    timezone text not null,
    period_start text,
    period_end text,
    lines text not null check (json_valid(lines)),
    subtotal integer not null check (subtotal >= 0),
    credit_applied integer not null check (credit_applied >= 0),
    total integer not null check (total = subtotal - credit_applied and total >= 0),
    amount_paid integer not null check (amount_paid >= 0 and amount_paid <= total),
    amount_refunded integer not null check (amount_refunded >= 0),
    due_at text not null,
    next_attempt_at text,
    next_action text not null check (next_action in ('charge', 'give_up')),
    attempts integer not null check (attempts >= 0),
    gateway_faults integer not null check (gateway_faults >= 0),
    dunning_step integer not null check (dunning_step >= 0),
    first_failed_at text,
    created_at text not null,
    updated_at text not null,
    unique (subscription_id, cycle),
    check (status = 'open' or next_attempt_at is null),
    check (status <> 'paid' or amount_paid = total)
) strict;
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
    attempt integer not null,
    gateway text not null,
    kind text not null,
    reference text not null unique,
    idempotency_key text not null,
    customer_token text,
    payment_method_token text,
    prior_transaction_id text,
    description text not null,
    amount integer not null check (amount > 0),
    amount_captured integer not null check (amount_captured >= 0),
    amount_refunded integer not null check (amount_refunded >= 0 and amount_refunded <= amount_captured),
    currency text not null,
    status text not null check (status in ('pending', 'authorized', 'succeeded', 'declined', 'gateway_error', 'unknown', 'parked', 'refunded')),
    transaction_id text,
    decline_class text,
    decline_code text,
    decline_message text,
    lease_owner text,
    lease_token integer not null,
    lease_expires_at text,
    lookups integer not null check (lookups >= 0),
    next_lookup_at text,
    sent_at text not null,
    called_at text not null,
    created_at text not null,
    resolved_at text
) strict;
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
    amount integer not null check (amount > 0),
    returned_before integer not null check (returned_before >= 0),
    currency text not null,
    reason text not null,
    status text not null check (status in ('pending', 'succeeded', 'refused', 'gateway_error', 'unknown', 'parked')),
    voided integer not null check (voided in (0, 1)),
    transaction_id text,
    message text,
    lease_owner text,
    lease_expires_at text,
    lookups integer not null,
    next_lookup_at text,
    sent_at text not null,
    created_at text not null,
    resolved_at text
) strict;
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
    data text not null check (json_valid(data)),
    occurred_at text not null
) strict;
create index events_of_subject on events (subject, id);
create index events_of_type on events (type, id);

create table job_runs (
    id text primary key,
    job text not null,
    instance text not null,
    result text not null check (result in ('running', 'ok', 'failed')),
    counts text not null check (json_valid(counts)),
    error text,
    started_at text not null,
    ended_at text
) strict;
create index job_runs_of_job on job_runs (job, id);
