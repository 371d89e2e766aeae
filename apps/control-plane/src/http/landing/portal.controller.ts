import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { createReadStream, existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { ProblemError, projectRoot } from '#platform';
import { Open } from '../support/auth.guard.js';

const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.html': 'text/html; charset=utf-8',
  '.woff2': 'font/woff2',
  '.map': 'application/json',
};

/** The built portal. Assets carry their hash in the name and never change; the page itself is never cached. */
@ApiExcludeController()
@Controller()
export class PortalController {
  private readonly folder = join(projectRoot(), 'dist', 'portal');

  @Get(['landing/s/:sessionId', 'landing/problem'])
  @Open('the page holds no data; its API calls do')
  page(@Res() reply: FastifyReply): void {
    this.send(reply, 'index.html', 'no-store');
  }

  @Get('portal-assets/*')
  @Open('static files')
  asset(@Param('*') path: string, @Res() reply: FastifyReply): void {
    // Only names of built files: no path of the visitor's is ever joined.
    const name = basename(path);
    const inAssets = existsSync(join(this.folder, 'assets', name));
    this.send(reply, inAssets ? join('assets', name) : name, 'public, max-age=31536000, immutable');
  }

  private send(reply: FastifyReply, name: string, cache: string): void {
    const file = join(this.folder, name);
    if (!existsSync(file)) throw new ProblemError('not_found', 'portal.not_built', 'The portal is not built. Run: npm run build');
    void reply
      .header('cache-control', cache)
      .type(TYPES[extname(file)] ?? 'application/octet-stream')
      .send(createReadStream(file));
  }
}
