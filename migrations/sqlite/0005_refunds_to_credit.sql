-- A refund goes back to the payment method, through the gateway, or becomes credit of the customer, which no gateway hears of.

alter table invoices add column amount_credited integer not null default 0
    check (amount_credited >= 0 and amount_credited <= subtotal - amount_refunded);

-- What becomes credit need not have come by any payment.
alter table refunds rename to refunds_before;
create table refunds (
    id text primary key,
    payment_id text references payments (id) on delete cascade,
    invoice_id text not null,
    timeline text not null,
    destination text not null check (destination in ('method', 'credit')),
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
    resolved_at text,
    check ((destination = 'method') = (payment_id is not null)),
    check (destination = 'method' or status = 'succeeded')
) strict;
insert into refunds
select id, payment_id, invoice_id, timeline, 'method', amount, returned_before, currency, reason, status, voided, transaction_id,
       message, lease_owner, lease_expires_at, lookups, next_lookup_at, sent_at, created_at, resolved_at
from refunds_before;
drop table refunds_before;
create unique index refunds_one_open on refunds (payment_id) where status in ('pending', 'unknown', 'parked');
create index refunds_of_invoice on refunds (invoice_id);
create index refunds_leased on refunds (lease_expires_at) where lease_expires_at is not null;
create index refunds_to_look_up on refunds (next_lookup_at) where next_lookup_at is not null;
