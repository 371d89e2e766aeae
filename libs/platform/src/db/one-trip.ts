import pg, { type Connection, type QueryResult } from 'pg';

/** A text that does not vary, with its parameters: planned once per connection, under this name. */
export interface Prepared {
  name: string;
  text: string;
  /** Arrays as text (`arrayText`). */
  values: (string | null)[];
}

/** What a connection has planned. */
const planned = new WeakMap<Connection, Set<string>>();

/**
 * Statements that leave in one packet and are answered in one: they have one Sync, so Postgres takes them as one transaction
 * that is committed with it. Each sees what was committed before it began. Where one fails, those behind it are not run and
 * nothing stands.
 */
class OneTrip extends pg.Query {
  override submit = (connection: Connection): void => {
    this.connection = connection;
    const known = planned.get(connection);
    const { stream } = connection;
    stream.cork();
    try {
      for (const { name, text, values } of this.statements) {
        if (!known?.has(name)) {
          // Left behind by a trip that failed later on; closing what is not there is no fault.
          connection.close({ type: 'S', name }, true);
          connection.parse({ name, text, types: [] }, true);
        }
        connection.bind({ statement: name, values }, true);
        connection.describe({ type: 'P', name: '' }, true);
        connection.execute(null, true);
      }
    } finally {
      connection.sync();
      stream.uncork();
    }
  };
  private connection: Connection | undefined;

  constructor(private readonly statements: readonly Prepared[]) {
    super({ text: '' });
  }

  /** All of them have been planned. */
  done(): void {
    const known = planned.get(this.connection!) ?? new Set();
    for (const { name } of this.statements) known.add(name);
    planned.set(this.connection!, known);
  }
}

/** The rows of the last of these statements, once all of them are committed. */
export async function inOneTrip(pool: pg.Pool, statements: readonly Prepared[]): Promise<QueryResult['rows']> {
  const trip = new OneTrip(statements);
  // The pool waits for what is given to it as for a query of its own, which its types do not say.
  const results = (await (pool.query(trip) as unknown as Promise<QueryResult | QueryResult[]>)) as QueryResult | QueryResult[];
  trip.done();
  return (Array.isArray(results) ? results.at(-1)! : results).rows;
}
