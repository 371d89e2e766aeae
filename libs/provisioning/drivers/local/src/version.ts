/** The data plane's version. 3.36 wants Node 21, 3.37 Node 22 (contract provisioning §4.6). */
export const AZURITE_VERSION = '3.35.0';
