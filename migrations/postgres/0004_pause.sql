-- Since when a pause lasts, one that waits for the period's end, and what a pause with credit gave back: it is charged again when the pause ends.

alter table subscriptions add column paused_on date;
alter table subscriptions add column pause_at_period_end boolean not null default false;
alter table subscriptions add column credited_days jsonb;
