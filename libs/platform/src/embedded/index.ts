export { EmbeddedStartError } from './embedded.errors.js';
export { EMBEDDED_DATABASE, EMBEDDED_SUPERUSER } from './postgres-launcher.js';
export { embeddedUrl, startEmbeddedPostgres, type EmbeddedPostgres, type EmbeddedPostgresOptions } from './embedded-postgres.js';
export { findRedisServer, startEmbeddedRedis, type EmbeddedRedis } from './embedded-redis.js';
