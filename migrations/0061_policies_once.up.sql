-- Whose rows a transaction may see is asked once for a statement, not once for a row: as a scalar query the context's setting is read
-- and parsed before the first row. With 250 tenants in one commit of intake that was 9 KB of text for each row and check.
do $$
declare
  p record;
  once constant text[][] := array[['app_tenant_ids()', '(( SELECT app_tenant_ids())::uuid[])'], ['app_tenant_id()', '( SELECT app_tenant_id())']];
  qual text;
  checked text;
  i int;
begin
  for p in select schemaname, tablename, policyname, pg_policies.qual, with_check from pg_policies
            where schemaname = 'public' and (pg_policies.qual like '%app_tenant%' or with_check like '%app_tenant%') loop
    qual := p.qual;
    checked := p.with_check;
    for i in 1..array_length(once, 1) loop
      qual := replace(qual, once[i][1], once[i][2]);
      checked := replace(checked, once[i][1], once[i][2]);
    end loop;
    execute format('alter policy %I on %I.%I', p.policyname, p.schemaname, p.tablename)
      || coalesce(' using (' || qual || ')', '') || coalesce(' with check (' || checked || ')', '');
  end loop;
end $$;
