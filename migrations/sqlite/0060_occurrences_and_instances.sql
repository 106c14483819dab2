-- Several daemons on one database: whose turn it is at a job with a timetable, and who there is.

-- The latest occurrence of each such job that anybody has taken.
create table occurrences (
    job text primary key,
    occurs_at text not null,
    lease_owner text,
    lease_expires_at text,
    done_at text,
    check ((done_at is null) = (lease_owner is not null and lease_expires_at is not null))
) strict;

create table instances (
    name text primary key,
    -- Of its latest life.
    token text not null,
    version text not null,
    started_at text not null,
    seen_at text not null,
    -- Set by an orderly end.
    stopped_at text
) strict;
