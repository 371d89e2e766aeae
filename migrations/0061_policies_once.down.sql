do $$
declare
  p record;
  qual text;
  checked text;
begin
  for p in select schemaname, tablename, policyname, pg_policies.qual, with_check from pg_policies
            where schemaname = 'public' and (pg_policies.qual like '%SELECT app_tenant%' or with_check like '%SELECT app_tenant%') loop
    -- Postgres writes the column's name behind the query: ( SELECT app_tenant_id() AS app_tenant_id).
    qual := regexp_replace(regexp_replace(p.qual, '\(\( SELECT app_tenant_ids\(\) AS app_tenant_ids\)\)(::uuid\[\])?|\( SELECT app_tenant_ids\(\) AS app_tenant_ids\)(::uuid\[\])?', 'app_tenant_ids()', 'g'), '\( SELECT app_tenant_id\(\) AS app_tenant_id\)', 'app_tenant_id()', 'g');
    checked := regexp_replace(regexp_replace(p.with_check, '\(\( SELECT app_tenant_ids\(\) AS app_tenant_ids\)\)(::uuid\[\])?|\( SELECT app_tenant_ids\(\) AS app_tenant_ids\)(::uuid\[\])?', 'app_tenant_ids()', 'g'), '\( SELECT app_tenant_id\(\) AS app_tenant_id\)', 'app_tenant_id()', 'g');
    execute format('alter policy %I on %I.%I', p.policyname, p.schemaname, p.tablename)
      || coalesce(' using (' || qual || ')', '') || coalesce(' with check (' || checked || ')', '');
  end loop;
end $$;
