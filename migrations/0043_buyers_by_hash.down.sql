alter table landing_sessions drop column visitor_hash;
-- A hash leads back to nobody. What still waits is found again by the sweep of the program before.
delete from tasks where handler = 'buyer.sign_up' and payload_ref ? 'buyer';
