// Runs queries in DuckDB: the first argument makes the view, and each other one is
// asked. Prints the rows of each answer as a line of JSON.
import { DuckDBInstance } from '@duckdb/node-api'

const [view, ...queries] = process.argv.slice(2)
const db = await (await DuckDBInstance.create(':memory:')).connect()
await db.run(view)
for (const query of queries) {
  const answer = await db.runAndReadAll(query)
  console.log(JSON.stringify(answer.getRowsJson()))
}
