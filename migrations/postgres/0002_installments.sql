-- Installment plans: a fixed total in dated parts. A plan is locked with its parts, and each part is invoiced once.

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
    business_day text not null,
    holiday_calendar text,
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

create table installments (
    id text primary key,
    installment_plan_id text not null references installment_plans (id) on delete cascade,
    number bigint not null check (number >= 0),
    date date not null,
    due_at timestamptz not null,
    amount bigint not null check (amount > 0),
    status text not null check (status in ('scheduled', 'due', 'paid', 'failed', 'cancelled')),
    invoice_id text,
    unique (installment_plan_id, number),
    check (status not in ('due', 'paid', 'failed') or invoice_id is not null),
    check (status <> 'scheduled' or invoice_id is null)
);
create index installments_scheduled on installments (installment_plan_id, due_at) where status = 'scheduled';
create index installments_of_invoice on installments (invoice_id) where invoice_id is not null;

alter table invoices add column installment_number bigint check (installment_number >= 0);
-- Never twice: an installment has one invoice, whatever becomes of it.
create unique index invoices_of_installment on invoices (installment_plan_id, installment_number) where installment_plan_id is not null;

alter table payments add column reason text not null default 'recurring' check (reason in ('recurring', 'installment'));
