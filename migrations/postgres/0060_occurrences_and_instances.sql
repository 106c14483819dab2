-- Several daemons on one database: whose turn it is at a job with a timetable, and who there is.

-- The latest occurrence of each such job that anybody has taken.
create table occurrences (
    job text primary key,
    occurs_at timestamptz not null,
    lease_owner text,
    lease_expires_at timestamptz,
    done_at timestamptz,
    check ((done_at is null) = (lease_owner is not null and lease_expires_at is not null))
);

create table instances (
    name text primary key,
    -- Of its latest life.
    token text not null,
    version text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    -- Set by an orderly end.
    stopped_at timestamptz
);
