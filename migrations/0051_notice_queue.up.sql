-- expand: notices as a queue of work: who has taken one, and who closed it and why, where that was one of ours.
alter table marketplace_notices
  add column taken_by  text,
  add column taken_at  timestamptz,
  add column closed_by text,
  add column closed_at timestamptz,
  add column closed_reason text,
  add constraint marketplace_notices_taken check ((taken_by is null) = (taken_at is null)),
  add constraint marketplace_notices_closed check ((closed_by is null) = (closed_at is null) and (closed_by is null or state = 'closed'));
