-- Payment requests: the customer is asked to pay by e-mail, SMS or link. An invoice may be paid by a card meanwhile.

create table payment_requests (
    id text primary key,
    -- None: the gateway charges by a schedule of its own, and each of its payments gets an invoice of its own.
    invoice_id text references invoices (id) on delete cascade,
    customer_id text not null references customers (id) on delete cascade,
    payment_method_id text,
    timeline text not null,
    gateway text not null,
    role text not null check (role in ('attempt', 'last', 'extra', 'schedule')),
    reference text not null unique,
    status text not null check (status in ('pending', 'unknown', 'sent', 'running', 'paid', 'expired', 'withdrawn', 'refused', 'parked')),
    -- Why it is being closed, while the gateway has not confirmed that.
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
    -- The gateway's own, where it keeps requests.
    request_id text,
    link text,
    message text,
    -- It may still be paid after its end: the gateway did not let it be taken back.
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
    -- When it was last looked at, and when somebody last said that something has happened.
    claimed_at timestamptz,
    heard_at timestamptz,
    gateway_expires_at timestamptz not null,
    sent_at timestamptz not null,
    created_at timestamptz not null,
    resolved_at timestamptz,
    check (ending is null or status in ('pending', 'unknown', 'sent', 'running')),
    check ((role = 'schedule') = (invoice_id is null)),
    check ((invoice_id is null) = (payment_frequency is not null)),
    check ((payment_frequency is null) = (payment_start_at is null))
);
-- One at a time that collection has sent for an invoice; an operator may send others beside it.
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

-- The request by which a payment came, what of it the invoice did not need, and when that is to be given back.
alter table payments add column payment_request_id text;
alter table payments add column overpayment bigint not null default 0 check (overpayment >= 0 and overpayment <= amount_captured);
alter table payments add column return_at timestamptz;
-- Never twice: what a request brought is booked once.
create unique index payments_of_request on payments (payment_request_id, transaction_id) where payment_request_id is not null;
create index payments_to_return on payments (return_at) where return_at is not null;
create index payments_returns_of on payments (timeline, return_at) where return_at is not null;
