-- expand: which of the buyer's people opened a visit, as the marketplace tells it; a hash.
alter table landing_sessions add column visitor_hash text;
-- data: tasks name a buyer by a hash only, so that nothing is left in old ones when his data is deleted.
update tasks
   set payload_ref = (payload_ref - 'buyerAccountId')
         || jsonb_build_object('buyer', encode(sha256(convert_to(payload_ref ->> 'buyerAccountId', 'UTF8')), 'hex'))
 where handler = 'buyer.sign_up' and payload_ref ? 'buyerAccountId';
