-- Roll-outs: a catalog edit taken to running subscriptions, in batches by id, with the place it has come to.

create table roll_outs (
    id text primary key,
    entry_type text not null check (entry_type in ('plan', 'add_on', 'discount')),
    entry_id text not null,
    revision text not null,
    options text not null check (json_valid(options)),
    versions text not null check (json_valid(versions)),
    status text not null check (status in ('running', 'done')),
    actor text not null,
    done_through text,
    plans_changed integer not null check (plans_changed >= 0),
    subscriptions_changed integer not null check (subscriptions_changed >= 0),
    left_alone text not null check (json_valid(left_alone)),
    created_at text not null,
    finished_at text,
    check ((status = 'done') = (finished_at is not null))
) strict;
-- One at a time: two would each undo what the other was asked for.
create unique index roll_outs_one_running on roll_outs (entry_id) where status = 'running';
create index roll_outs_of_entry on roll_outs (entry_id, id);

create index subscriptions_running_of_plan on subscriptions (plan_id, id) where status not in ('completed', 'cancelled');
