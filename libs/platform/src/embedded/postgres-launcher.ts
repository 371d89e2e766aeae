import { spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { ServerOwner } from './binaries.js';
import { readOrMakePassword, readPort, withPasswordFile, type DataFolder } from './data-folder.js';
import { EmbeddedStartError, USE_DATABASE_URL } from './embedded.errors.js';
import { roomOf, SMALL, usableMemory } from './postgres-memory.js';
import { livingPostmaster, type Postmaster } from './postmaster.js';
import { childEnvironment, endServer, fatalLine, lastLine, majorVersion, runProgram } from './postgres-programs.js';
import { freePort, identify, isAlive, pause, type ProcessIdentity } from './process-tools.js';

export const EMBEDDED_SUPERUSER = 'berth_admin';
export const EMBEDDED_DATABASE = 'berth';

export interface LaunchOptions {
  /** `relaxed` is for tests only: a power cut may lose the database. */
  readonly durability?: 'full' | 'relaxed';
  readonly maxConnections?: number;
}

export interface RunningServer {
  readonly process: ProcessIdentity;
  readonly port: number;
  readonly adopted: boolean;
  url(database: string): string;
}

type Answer = 'ours' | 'foreign' | 'wrong-password' | 'busy';

/** Brings the server of one data folder up, by taking a living one over or by starting it. */
export class PostgresLauncher {
  private readonly password: string;
  private readonly passwordMade: boolean;

  constructor(
    private readonly native: string,
    private readonly owner: ServerOwner,
    private readonly folder: DataFolder,
    private readonly options: LaunchOptions,
  ) {
    const found = readOrMakePassword(folder.passwordFile);
    this.password = found.password;
    this.passwordMade = found.made;
  }

  /** A server that outlived its launcher: taken over when it answers as ours, else ended, so that one can be started. */
  async adopt(goingDown: boolean): Promise<RunningServer | undefined> {
    const found = livingPostmaster(this.folder.data);
    if (!found) {
      // Left by a power cut or a killed server; Postgres itself refuses to start when another program has that number now.
      rmSync(join(this.folder.data, 'postmaster.pid'), { force: true });
      return undefined;
    }
    if (!goingDown && (await this.answersAsOurs(found))) {
      await this.ensureDatabase(found.port);
      return this.running(found.process, found.port, true);
    }
    await endServer(found.process);
    return undefined;
  }

  async startNew(): Promise<RunningServer> {
    if (!existsSync(join(this.folder.data, 'PG_VERSION'))) await this.initialise();
    else {
      this.checkVersion();
      if (this.passwordMade) await this.resetPassword();
    }
    this.turnLog();
    for (let attempt = 1; ; attempt++) {
      const port = await freePort(readPort(this.folder.portFile));
      const started = await this.launch(port);
      if (started) {
        writeFileSync(this.folder.portFile, `${port}\n`);
        await this.ensureDatabase(port);
        return this.running(started, port, false);
      }
      // Between the look and the start somebody took the port.
      rmSync(this.folder.portFile, { force: true });
      if (attempt >= 3) throw this.startError('the embedded Postgres found its port taken three times');
    }
  }

  private running(process_: ProcessIdentity, port: number, adopted: boolean): RunningServer {
    return { process: process_, port, adopted, url: (database) => this.url(port, database) };
  }

  private url(port: number, database: string): string {
    return `postgresql://${EMBEDDED_SUPERUSER}:${encodeURIComponent(this.password)}@127.0.0.1:${port}/${database}`;
  }

  private async initialise(): Promise<void> {
    // Made aside and renamed: an initdb that was cut short leaves nothing that looks like a database.
    const aside = `${this.folder.data}.new`;
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside, { mode: 0o700 });
    if (this.owner) chownSync(aside, this.owner.uid, this.owner.gid);
    const output = await withPasswordFile(this.password, this.owner, (file) =>
      runProgram(
        this.native,
        this.owner,
        'initdb',
        [
          ['-D', aside, '-U', EMBEDDED_SUPERUSER, `--pwfile=${file}`, '--auth=scram-sha-256', '--encoding=UTF8'],
          // The C.UTF-8 that Postgres carries: sorting does not depend on the machine's libraries.
          ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
          this.options.durability === 'relaxed' ? ['--no-sync'] : [],
        ].flat(),
      ),
    );
    if (output.code !== 0) {
      rmSync(aside, { recursive: true, force: true });
      throw new EmbeddedStartError(
        `initdb of the embedded Postgres failed: ${fatalLine(output.text)}`,
        `make room in ${this.folder.data} or ${USE_DATABASE_URL}`,
      );
    }
    if (existsSync(this.folder.data)) {
      try {
        renameSync(aside, this.folder.data);
      } catch {
        rmSync(aside, { recursive: true, force: true });
        throw new EmbeddedStartError(
          `${this.folder.data} is not empty and holds no database`,
          'move it away or choose another folder with BERTH_DATA',
        );
      }
    } else renameSync(aside, this.folder.data);
  }

  private checkVersion(): void {
    const found = readFileSync(join(this.folder.data, 'PG_VERSION'), 'utf8').trim();
    const mine = majorVersion(this.native) ?? found;
    if (mine !== found) {
      throw new EmbeddedStartError(
        `${this.folder.data} was made by Postgres ${found}, the embedded one is ${mine}`,
        `move the folder away to start afresh, or ${USE_DATABASE_URL}`,
      );
    }
  }

  /** The password file was lost: who may write the data folder may set a new one. */
  private async resetPassword(): Promise<void> {
    const sql = `alter role ${EMBEDDED_SUPERUSER} password '${this.password}'\n`;
    const output = await runProgram(this.native, this.owner, 'postgres', ['--single', '-D', this.folder.data, 'postgres'], sql);
    if (output.code !== 0)
      throw new EmbeddedStartError(
        `the lost password of the embedded Postgres could not be set anew: ${lastLine(output.text)}`,
        `restore ${this.folder.passwordFile} or ${USE_DATABASE_URL}`,
      );
  }

  /** The server's process, or undefined when its port was taken. */
  private async launch(port: number): Promise<ProcessIdentity | undefined> {
    const relaxed = this.options.durability === 'relaxed';
    const settings: Record<string, string | number> = {
      listen_addresses: '127.0.0.1',
      port,
      // No socket file: its path may be too long or closed, and TCP on the loopback serves all.
      unix_socket_directories: '',
      password_encryption: 'scram-sha-256',
      max_connections: this.options.maxConnections ?? 100,
      ...(relaxed ? SMALL : roomOf(usableMemory())),
      wal_level: 'minimal',
      max_wal_senders: 0,
      jit: 'off',
      timezone: 'UTC',
      log_timezone: 'UTC',
      log_line_prefix: '%m [%p] %u@%d ',
      fsync: relaxed ? 'off' : 'on',
      synchronous_commit: relaxed ? 'off' : 'on',
      full_page_writes: relaxed ? 'off' : 'on',
    };
    const args = ['-D', this.folder.data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])];
    const log = openSync(this.folder.log, 'a', 0o600);
    const from = statSync(this.folder.log).size;
    let child: ChildProcess;
    try {
      // A group of its own: Ctrl-C on a terminal must not end the database under the application.
      child = spawn(join(this.native, 'bin', 'postgres'), args, {
        ...this.owner,
        cwd: '/',
        env: childEnvironment(),
        detached: true,
        stdio: ['ignore', log, log],
      });
    } finally {
      closeSync(log);
    }
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, name) => resolve(`ended with ${name ?? code}`));
    });
    child.unref();
    if (child.pid === undefined) throw this.startError(`the embedded Postgres could not be run: ${await ended}`);
    const process_ = identify(child.pid);
    let gone: string | undefined;
    void ended.then((how) => (gone = how));
    const until = performance.now() + 60_000;
    let refusals = 0;
    while (gone === undefined) {
      const answer = await this.ask(port);
      if (answer === 'ours') return process_;
      // Once may be somebody else's server that took the port; ours then ends by itself.
      if (answer === 'wrong-password' && ++refusals > 40) {
        await endServer(process_);
        throw new EmbeddedStartError(
          `the embedded Postgres refuses the password in ${this.folder.passwordFile}`,
          'delete that file: a new password is then set at the next start',
        );
      }
      if (performance.now() > until) {
        await endServer(process_);
        throw this.startError('the embedded Postgres did not answer within 60 s');
      }
      await pause(25);
    }
    const text = readFileSync(this.folder.log).subarray(from).toString('utf8');
    if (/could not (bind|create any TCP)|Address already in use/.test(text)) return undefined;
    throw this.startError(`the embedded Postgres ${gone}: ${fatalLine(text)}`);
  }

  /** Waits while the server starts up or recovers; a server on its way down is waited for by the caller. */
  private async answersAsOurs(found: Postmaster): Promise<boolean> {
    const until = performance.now() + 30_000;
    while (isAlive(found.process) && performance.now() < until) {
      const port = found.port || livingPostmaster(this.folder.data)?.port || 0;
      const answer = port ? await this.ask(port) : 'busy';
      if (answer === 'ours') return true;
      if (answer !== 'busy') return false;
      await pause(50);
    }
    return false;
  }

  private async ask(port: number): Promise<Answer> {
    const client = new pg.Client({ connectionString: this.url(port, 'postgres'), connectionTimeoutMillis: 2_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ folder: string }>("select current_setting('data_directory') as folder");
      return realpathSync(rows[0]?.folder ?? '/') === realpathSync(this.folder.data) ? 'ours' : 'foreign';
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (code === '28P01' || code === '28000') return 'wrong-password';
      return 'busy';
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  private async ensureDatabase(port: number): Promise<void> {
    const client = new pg.Client({ connectionString: this.url(port, 'postgres') });
    await client.connect();
    try {
      const found = await client.query('select 1 from pg_database where datname = $1', [EMBEDDED_DATABASE]);
      if (found.rowCount === 0) await client.query(`create database ${EMBEDDED_DATABASE}`);
    } finally {
      await client.end();
    }
  }

  private turnLog(): void {
    if (existsSync(this.folder.log) && statSync(this.folder.log).size > 10_000_000) renameSync(this.folder.log, `${this.folder.log}.1`);
    if (!existsSync(this.folder.log)) writeFileSync(this.folder.log, '', { mode: 0o600 });
    chmodSync(this.folder.log, 0o600);
  }

  private startError(cause: string): EmbeddedStartError {
    return new EmbeddedStartError(cause, `read ${this.folder.log}, or ${USE_DATABASE_URL}`);
  }
}
