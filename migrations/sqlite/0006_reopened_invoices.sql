-- When an invoice that was given up was opened again. It is collected even where its subscription was cancelled before that.
alter table invoices add column reopened_at text;
