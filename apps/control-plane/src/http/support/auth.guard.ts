import { Inject, Injectable, SetMetadata, type CanActivate, type CustomDecorator, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { ProblemError } from '#platform';
import { KeyChecks, type Principal, type PrincipalKind } from '#tenancy';

const ACCESS = 'berth.access';
type Access = { open: string } | { kinds: PrincipalKind[] };

/** Which principals may call a route. A route without `Allow` or `Open` is closed: deny by default. */
export const Allow = (...kinds: PrincipalKind[]): CustomDecorator => SetMetadata(ACCESS, { kinds } satisfies Access);
/** A route that needs no key of ours, with the reason (it authenticates otherwise, or is harmless). */
export const Open = (reason: string): CustomDecorator => SetMetadata(ACCESS, { open: reason } satisfies Access);

export type AuthenticatedRequest = FastifyRequest & { principal?: Principal };

@Injectable()
export class AuthGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    @Inject(KeyChecks) private readonly keys: KeyChecks,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const access = this.reflector.getAllAndOverride<Access | undefined>(ACCESS, [context.getHandler(), context.getClass()]);
    if (!access) throw new ProblemError('forbidden', 'auth.route_closed', 'This route is closed.');
    if ('open' in access) return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    // Usage intake has proved the key before it read the body.
    const principal = request.principal ?? (await this.keys.check(presentedKey(request)));
    if (!access.kinds.includes(principal.kind)) {
      throw new ProblemError(
        'forbidden',
        'auth.kind_not_allowed',
        `A ${principal.kind} key may not call this route; it needs: ${access.kinds.join(' or ')}.`,
      );
    }
    request.principal = principal;
    return true;
  }
}

export const presentedKey = (request: FastifyRequest): string => keyIn(request.headers.authorization);
/** The key of an `Authorization` header; empty for none. */
export const keyIn = (authorization: string | undefined): string => /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1] ?? '';
