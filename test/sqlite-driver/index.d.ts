import type BetterSqlite3 from 'better-sqlite3'

export declare const Database: typeof BetterSqlite3 | undefined
