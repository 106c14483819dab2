-- Subscriptions that wait for an end that no billed period says, what waits of several things was asked for last, and schedules that an
-- edit laid just before a billing day.

alter table subscriptions add column waits_until text;
alter table subscriptions add column scheduled_last text check (scheduled_last in ('cancel', 'pause', 'change'));
alter table subscriptions add column passes_first_anchor integer not null default 0 check (passes_first_anchor in (0, 1));
