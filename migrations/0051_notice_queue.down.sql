alter table marketplace_notices
  drop constraint if exists marketplace_notices_closed,
  drop constraint if exists marketplace_notices_taken,
  drop column if exists closed_reason,
  drop column if exists closed_at,
  drop column if exists closed_by,
  drop column if exists taken_at,
  drop column if exists taken_by;
