-- Dunning policies: what follows a failed payment, by default, by subscription or by installment plan.

create table dunning_policies (
    id text primary key,
    reference text unique,
    name text not null,
    steps jsonb not null,
    by_class jsonb not null,
    final_action text not null check (final_action in ('cancel', 'pause', 'mark_uncollectible', 'payment_request')),
    is_default boolean not null,
    source text not null check (source in ('api', 'configuration')),
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create unique index dunning_policies_one_default on dunning_policies (is_default) where is_default;

alter table plans add column dunning_policy_id text;
create index plans_of_dunning_policy on plans (dunning_policy_id) where dunning_policy_id is not null;
create index subscriptions_of_dunning_policy on subscriptions (dunning_policy_id) where dunning_policy_id is not null;
alter table installment_plans add column dunning_policy_id text;
create index installment_plans_of_dunning_policy on installment_plans (dunning_policy_id) where dunning_policy_id is not null;

-- The latest failure decides which of a policy's ladders an invoice is on.
alter table invoices add column decline_class text;
alter table invoices add column decline_code text;
-- Whether the next attempt is made by the next stored method, and why one that was due waits.
alter table invoices add column next_method boolean not null default false;
alter table invoices add column postponed_by text;
