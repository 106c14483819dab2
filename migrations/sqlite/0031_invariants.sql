-- Invariants that do not hold, since when; and the indexes by which what must not be is found without reading what may be.

create table invariant_violations (
    name text primary key,
    count integer not null check (count > 0),
    broken_at text not null
) strict;

create index subscriptions_adrift on subscriptions (id)
    where due_at is null and next_bill_at is not null and status in ('trialing', 'active');
create index invoices_waiting on invoices (id) where status = 'open' and next_attempt_at is null;
