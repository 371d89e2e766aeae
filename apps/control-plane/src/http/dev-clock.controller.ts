import { Body, Controller, Headers, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { DevClock } from '../workers/dev-clock.js';
import { Open } from './support/auth.guard.js';

/** Reachable only where configuration allows a sandbox clock at all (all endpoints on this machine). */
@ApiExcludeController()
@Controller('dev')
export class DevClockController {
  constructor(@Inject(DevClock) private readonly clock: DevClock) {}

  @Post('clock')
  @HttpCode(200)
  @Open('checked by the token this process gave to the sandbox')
  tell(@Headers('authorization') authorization: string | undefined, @Body() body: unknown): Promise<{ worked?: boolean }> {
    return this.clock.handle(authorization, body);
  }
}
