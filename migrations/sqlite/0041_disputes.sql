-- What customers' banks take back, as the gateways report it.

alter table payments add column amount_disputed integer not null default 0 check (amount_disputed >= 0);
-- When its gateway is asked whether it is disputed; null before it has succeeded and once it is too old.
alter table payments add column dispute_check_at text;
create index payments_to_check on payments (dispute_check_at) where dispute_check_at is not null;

create table disputes (
    id text primary key,
    payment_id text not null references payments (id) on delete cascade,
    invoice_id text not null,
    customer_id text not null,
    timeline text not null,
    gateway text not null,
    transaction_id text not null,
    amount integer not null check (amount > 0),
    currency text not null,
    status text not null check (status in ('open', 'closed')),
    reason text not null,
    opened_at text not null,
    closed_at text,
    check ((status = 'closed') = (closed_at is not null))
) strict;
create unique index disputes_one_open on disputes (payment_id) where status = 'open';
create index disputes_of_payment on disputes (payment_id);
