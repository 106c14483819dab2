-- Roll-outs: a catalog edit taken to running subscriptions, in batches by id, with the place it has come to.

create table roll_outs (
    id text primary key,
    entry_type text not null check (entry_type in ('plan', 'add_on', 'discount')),
    entry_id text not null,
    revision text not null,
    options jsonb not null,
    versions jsonb not null,
    status text not null check (status in ('running', 'done')),
    actor text not null,
    done_through text,
    plans_changed bigint not null check (plans_changed >= 0),
    subscriptions_changed bigint not null check (subscriptions_changed >= 0),
    left_alone jsonb not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    check ((status = 'done') = (finished_at is not null))
);
-- One at a time: two would each undo what the other was asked for.
create unique index roll_outs_one_running on roll_outs (entry_id) where status = 'running';
create index roll_outs_of_entry on roll_outs (entry_id, id);

create index subscriptions_running_of_plan on subscriptions (plan_id, id) where status not in ('completed', 'cancelled');
