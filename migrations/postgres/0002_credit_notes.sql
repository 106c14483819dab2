-- The account of an invoice: what reduced it after it was issued, and where that went. What refunds gave back counts in columns of its own.

-- Taken off what was still due.
alter table invoices add column amount_reduced bigint not null default 0 check (amount_reduced >= 0);
-- Given to the customer's balance, or to another invoice, out of what was paid.
alter table invoices add column credit_given bigint not null default 0 check (credit_given >= 0);
-- The part of `amount_paid` that the customer's balance paid after the invoice was issued.
alter table invoices add column credit_paid bigint not null default 0 check (credit_paid >= 0);

-- What was taken off need not be paid.
alter table invoices drop constraint invoices_check4;
alter table invoices add constraint invoices_paid
    check (status <> 'paid' or amount_paid = total - amount_reduced);

insert into counters (name, value) values ('credit_note', 0);

-- Credit notes: an issued invoice is never edited, but reduced by these.
create table credit_notes (
    id text primary key,
    number text not null unique,
    invoice_id text not null references invoices (id) on delete cascade,
    customer_id text not null,
    timeline text not null,
    currency text not null,
    reason text not null check (reason in ('unused_days', 'changed', 'refunded', 'goodwill', 'void', 'dispute')),
    note text not null,
    lines jsonb not null,
    amount bigint not null check (amount > 0),
    pre_payment_amount bigint not null check (pre_payment_amount >= 0),
    to_balance bigint not null check (to_balance >= 0),
    to_method bigint not null check (to_method >= 0),
    to_invoice bigint not null check (to_invoice >= 0),
    refund_id text,
    created_at timestamptz not null,
    check (amount = pre_payment_amount + to_balance + to_method + to_invoice)
);
create index credit_notes_of_invoice on credit_notes (invoice_id, id);
create index credit_notes_of_customer on credit_notes (customer_id, id);
create index credit_notes_of_timeline on credit_notes (timeline, id);
