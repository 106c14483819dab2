-- Money reserved before the bill date, to be captured on it.

-- When there is next something to do about a subscription's authorization; set anew by each change of the subscription.
alter table subscriptions add column authorize_at timestamptz;
create index subscriptions_to_authorize on subscriptions (timeline, authorize_at) where authorize_at is not null;

create table authorizations (
    id text primary key,
    subscription_id text not null references subscriptions (id) on delete cascade,
    customer_id text not null,
    cycle bigint not null check (cycle >= 0),
    payment_method_id text,
    timeline text not null,
    gateway text not null,
    kind text not null,
    reference text not null unique,
    idempotency_key text not null,
    customer_token text,
    payment_method_token text,
    prior_transaction_id text,
    credential text not null,
    description text not null,
    amount bigint not null check (amount > 0),
    currency text not null,
    bill_at timestamptz not null,
    status text not null check (status in ('pending', 'authorized', 'unknown', 'voiding', 'used', 'declined', 'gateway_error', 'voided', 'lost')),
    transaction_id text,
    payment_id text,
    decline_class text,
    decline_code text,
    decline_message text,
    void_reason text,
    lease_owner text,
    lease_token bigint not null,
    lease_expires_at timestamptz,
    lookups bigint not null check (lookups >= 0),
    next_lookup_at timestamptz,
    sent_at timestamptz not null,
    called_at timestamptz not null,
    expires_at timestamptz,
    created_at timestamptz not null,
    resolved_at timestamptz,
    check (status not in ('authorized', 'used') or transaction_id is not null),
    check (status <> 'used' or payment_id is not null)
);
-- Never two reservations kept for one subscription.
create unique index authorizations_one_open on authorizations (subscription_id)
    where status in ('pending', 'authorized', 'unknown');
create index authorizations_open on authorizations (subscription_id)
    where status in ('pending', 'authorized', 'unknown', 'voiding');
create index authorizations_of_subscription on authorizations (subscription_id, cycle);
-- Declines count toward the caps of the credential, whatever they were for.
create index authorizations_of_credential on authorizations (credential, created_at) where status in ('pending', 'unknown', 'declined');
create index authorizations_leased on authorizations (lease_expires_at) where lease_expires_at is not null;
create index authorizations_to_look_up on authorizations (next_lookup_at) where next_lookup_at is not null;
create index authorizations_undecided on authorizations (timeline) where status in ('pending', 'unknown', 'voiding');

-- Under which the money of this payment was reserved.
alter table payments add column authorization_id text;
