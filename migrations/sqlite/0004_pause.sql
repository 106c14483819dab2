-- Since when a pause lasts, one that waits for the period's end, and what a pause with credit gave back: it is charged again when the pause ends.

alter table subscriptions add column paused_on text;
alter table subscriptions add column pause_at_period_end integer not null default 0 check (pause_at_period_end in (0, 1));
alter table subscriptions add column credited_days text check (json_valid(credited_days));
