-- The account of an invoice: what reduced it after it was issued, and where that went. What refunds gave back counts in columns of its own.

-- Taken off what was still due.
alter table invoices add column amount_reduced integer not null default 0 check (amount_reduced >= 0);
-- Given to the customer's balance, or to another invoice, out of what was paid.
alter table invoices add column credit_given integer not null default 0 check (credit_given >= 0);
-- The part of `amount_paid` that the customer's balance paid after the invoice was issued.
alter table invoices add column credit_paid integer not null default 0 check (credit_paid >= 0);

-- What was taken off need not be paid. A check changes nothing that is stored, so its text is replaced in place: copying the table would
-- cascade to the payments.
pragma writable_schema = on;
update sqlite_schema set sql = replace(sql, 'status <> ''paid'' or amount_paid = total', 'status <> ''paid'' or amount_paid = total - amount_reduced')
where type = 'table' and name = 'invoices';
pragma writable_schema = reset;

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
    lines text not null check (json_valid(lines)),
    amount integer not null check (amount > 0),
    pre_payment_amount integer not null check (pre_payment_amount >= 0),
    to_balance integer not null check (to_balance >= 0),
    to_method integer not null check (to_method >= 0),
    to_invoice integer not null check (to_invoice >= 0),
    refund_id text,
    created_at text not null,
    check (amount = pre_payment_amount + to_balance + to_method + to_invoice)
) strict;
create index credit_notes_of_invoice on credit_notes (invoice_id, id);
create index credit_notes_of_customer on credit_notes (customer_id, id);
create index credit_notes_of_timeline on credit_notes (timeline, id);
