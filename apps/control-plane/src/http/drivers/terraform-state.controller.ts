import { Controller, Delete, Get, Inject, Lock, Param, Post, Query, Req, Res, Unlock } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { StateDoor } from '#provisioning/drivers/terraform';
import { Open } from '../support/auth.guard.js';
import type { RawRequest } from '../support/configure-http.js';

const REASON = 'the credential of one run of terraform, by basic auth';

/** Terraform's http backend: state and lock of each cluster. Who may do what is decided where the state is written. */
@ApiExcludeController()
@Controller('drivers/terraform/state')
export class TerraformStateController {
  constructor(@Inject(StateDoor) private readonly door: StateDoor) {}

  @Get(':cluster')
  @Open(REASON)
  read(@Param('cluster') cluster: string, @Req() request: RawRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.handle('GET', cluster, null, request, reply);
  }

  @Post(':cluster')
  @Open(REASON)
  write(
    @Param('cluster') cluster: string,
    @Query('ID') lockId: unknown,
    @Req() request: RawRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.handle('POST', cluster, lockId, request, reply);
  }

  @Delete(':cluster')
  @Open(REASON)
  remove(
    @Param('cluster') cluster: string,
    @Query('ID') lockId: unknown,
    @Req() request: RawRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.handle('DELETE', cluster, lockId, request, reply);
  }

  @Lock(':cluster')
  @Open(REASON)
  lock(@Param('cluster') cluster: string, @Req() request: RawRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.handle('LOCK', cluster, null, request, reply);
  }

  @Unlock(':cluster')
  @Open(REASON)
  unlock(@Param('cluster') cluster: string, @Req() request: RawRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.handle('UNLOCK', cluster, null, request, reply);
  }

  private async handle(method: string, clusterRef: string, lockId: unknown, request: RawRequest, reply: FastifyReply): Promise<void> {
    const md5 = request.headers['content-md5'];
    const answer = await this.door.handle({
      method,
      clusterRef,
      lockId: typeof lockId === 'string' ? lockId : null,
      authorization: request.headers.authorization,
      contentMd5: typeof md5 === 'string' ? md5 : undefined,
      body: request.rawBody ?? Buffer.alloc(0),
    });
    await reply.status(answer.status).header('content-type', 'application/json').header('cache-control', 'no-store').send(answer.body);
  }
}
