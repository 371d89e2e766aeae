import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { stringify } from 'yaml';
import { EntraSignIn } from '#marketplaces/azure';
import { CLOCK, DATABASE, METRICS, Sealer } from '#platform';
import { Metering } from '#metering';
import { ManualWork } from '#provisioning/drivers/manual';
import { StateDoor } from '#provisioning/drivers/terraform';
import { ProvisioningEngine } from '#provisioning/engine';
import { Audit, Keys, Tenants } from '#tenancy';
import { ProcessContext } from './processes/context.js';
import { RuntimeInfo } from './runtime-info.js';
import { DevClock } from './workers/dev-clock.js';
import { CONTROLLERS } from './http/controllers.js';
import { describeApi } from './http/support/configure-http.js';

/** The controllers alone: describing the API calls none of their dependencies. */
const dependencies = [
  DATABASE,
  METRICS,
  CLOCK,
  RuntimeInfo,
  Sealer,
  EntraSignIn,
  Tenants,
  Keys,
  Audit,
  ProvisioningEngine,
  StateDoor,
  ManualWork,
  Metering,
  ProcessContext,
  DevClock,
];
@Module({ controllers: CONTROLLERS, providers: dependencies.map((provide) => ({ provide, useValue: {} })) })
class DescriptionModule {}

/** Prints our own API description from the code; `npm run generate` commits it as `openapi/control-plane.yaml`, `npm run check` fails when it is stale. */
const app = await NestFactory.create<NestFastifyApplication>(DescriptionModule, new FastifyAdapter(), {
  preview: true,
  logger: false,
  abortOnError: false,
});
const text = `# Generated from the code by "npm run generate". Do not edit.\n${stringify(describeApi(app), { aliasDuplicateObjects: false })}`;
process.stdout.write(text);
await app.close();
