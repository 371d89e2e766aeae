/** How and where clusters are run (requirements §1.4). A driver builds one of them. */
export const VARIANTS = [
  'odm_edge',
  'cloud_iaas',
  'cloud_bare_metal',
  'hybrid',
  'gdc',
  'azure_local',
  'neocloud_hosted',
  'airgapped',
  'local_dev',
] as const;
export type Variant = (typeof VARIANTS)[number];
