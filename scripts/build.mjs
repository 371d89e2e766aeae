// npm run build: everything to dist/ (and the portal to its own folder), only what is stale.
import { bootstrap } from './bootstrap.mjs';
import { main } from './lib/house.mjs';

main(() => bootstrap());
