import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { stringify } from 'yaml';
import { CONTROLLERS } from './http/controllers.js';
import { describeApi } from './http/support/configure-http.js';

/** The controllers alone: describing the API needs none of their dependencies. */
@Module({ controllers: CONTROLLERS })
class DescriptionModule {}

/** Prints our own API description from the code; `npm run generate` commits it as `openapi/control-plane.yaml`, `npm run check` fails when it is stale. */
const app = await NestFactory.create<NestFastifyApplication>(DescriptionModule, new FastifyAdapter(), { preview: true, logger: false, abortOnError: false });
const text = `# Generated from the code by "npm run generate". Do not edit.\n${stringify(describeApi(app), { aliasDuplicateObjects: false })}`;
process.stdout.write(text);
