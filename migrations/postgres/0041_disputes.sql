-- What customers' banks take back, as the gateways report it.

alter table payments add column amount_disputed bigint not null default 0 check (amount_disputed >= 0);

-- How far asking about payments of this age has come: ids are in the order of time.
create table dispute_rounds (
    days bigint primary key check (days > 0),
    reached text not null
);

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
