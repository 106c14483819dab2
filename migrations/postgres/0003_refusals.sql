-- What a gateway refuses, told to an operator.

-- Why an open invoice waits for an operator, and since when it has met only refusals that are not the customer's.
alter table invoices add column parked_reason text;
alter table invoices add column refused_at timestamptz;
alter table invoices add column refused_reason text;
create index invoices_parked on invoices (id) where status = 'open' and parked_reason is not null;
create index invoices_refused on invoices (timeline, refused_at) where status = 'open' and refused_at is not null;

-- Number of the try for its cycle: each waits longer than the one before.
alter table authorizations add column attempt bigint not null default 1 check (attempt >= 1);

-- Gateways that refuse the merchant's account. Every daemon rests, but for a probe now and then.
create table gateway_refusals (
    gateway text primary key,
    reason text not null,
    -- Of the key that was refused: another key ends the refusal.
    key_digest text not null,
    -- Probes that were let through.
    probes bigint not null check (probes >= 0),
    refused_at timestamptz not null,
    next_probe_at timestamptz not null
);
