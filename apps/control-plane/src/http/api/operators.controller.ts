import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { DATABASE, ProblemError, type Database, type Tx } from '#platform';
import { Audit, Keys, type Principal } from '#tenancy';
import { apiSchema, schemaRef } from '../support/api-schemas.js';
import { auditNote } from '../support/audit-note.js';
import { Allow } from '../support/auth.guard.js';
import { Caller } from '../support/scope.js';
import { parse } from '../support/validate.js';

const newOperator = apiSchema(
  'NewOperatorKey',
  z.strictObject({
    name: z.string().trim().min(2).max(80).describe('The person who will hold it; what needs two persons counts names, too.'),
  }),
);

/** Keys of people: a second one is what a write-off waits for. */
@ApiTags('operators')
@ApiBearerAuth()
@Controller('api/v1/operator-keys')
export class OperatorsController {
  constructor(
    @Inject(DATABASE) private readonly db: Database,
    @Inject(Keys) private readonly keys: Keys,
    @Inject(Audit) private readonly audit: Audit,
  ) {}

  @Get()
  @Allow('operator')
  @ApiOperation({ operationId: 'listOperatorKeys', summary: 'Who may operate, by key; never the keys themselves' })
  async list(): Promise<unknown> {
    const keys = await this.db.ops((tx) => this.keys.listOperators(tx));
    return {
      items: keys.map((k) => ({
        id: k.keyId,
        name: k.name,
        createdAt: k.createdAt.toISOString(),
        expiresAt: k.expiresAt?.toISOString() ?? null,
        revokedAt: k.revokedAt?.toISOString() ?? null,
      })),
      nextCursor: null,
    };
  }

  @Post()
  @HttpCode(201)
  @Allow('operator')
  @ApiOperation({ operationId: 'createOperatorKey', summary: 'A key for a named person; shown once' })
  @ApiBody({ schema: schemaRef(newOperator) })
  async create(@Caller() caller: Principal, @Body() body: unknown): Promise<unknown> {
    const { name } = parse(newOperator, body);
    return this.db.ops(async (tx) => {
      const issued = await this.keys.issue(tx, { kind: 'operator', name });
      await this.note(tx, caller, 'operator_key.issued', issued.keyId, { name });
      return { id: issued.keyId, name, key: issued.key };
    });
  }

  @Delete(':id')
  @HttpCode(204)
  @Allow('operator')
  @ApiOperation({ operationId: 'revokeOperatorKey', summary: 'The key opens nothing any more; not your own' })
  @ApiResponse({ status: 404, description: 'operator_key.not_found' })
  @ApiResponse({ status: 409, description: 'operator_key.own' })
  async revoke(@Caller() caller: Principal, @Param('id') id: string): Promise<void> {
    if (id === caller.keyId)
      throw new ProblemError(
        'conflict',
        'operator_key.own',
        'Nobody revokes the key in use: let another operator do it, or the last one locks the house.',
      );
    await this.db.ops(async (tx) => {
      if (await this.keys.revokeOperator(tx, id, caller.keyId)) await this.note(tx, caller, 'operator_key.revoked', id, {});
    });
  }

  private note(tx: Tx, caller: Principal, action: string, keyId: string, detail: Record<string, unknown>): Promise<void> {
    return auditNote(this.audit, tx, caller, { action, subject: `key:${keyId}`, detail });
  }
}
