-- Gateways that an operator has paused: nothing is charged there by any daemon until somebody resumes it.

create table gateway_pauses (
    gateway text primary key,
    reason text not null,
    actor text not null,
    paused_at timestamptz not null
);
