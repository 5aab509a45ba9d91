// kubo-rpc-client pointed at us, and what its tests share. Tests nothing.

import { create } from 'kubo-rpc-client'

import { gateway, newKey } from './network.mjs'

/** A client that sends these headers. */
export function clientWith (headers) {
  return create({ url: `${gateway}/api/v0`, headers })
}

/** A client with an account of its own. */
export async function newClient (name) {
  return clientWith({ authorization: `Bearer ${await newKey(name)}` })
}

/** Options under which Kubo makes the CIDs of the profile unixfs-v1-2025. */
export const modern = { cidVersion: 1, rawLeaves: true, chunker: 'size-1048576', maxFileLinks: 1024 }

/** Everything that an iterable gives. */
export async function all (source) {
  const items = []
  for await (const item of source) items.push(item)
  return items
}

/** Everything that an iterable of bytes gives. */
export async function bytes (source) {
  return Buffer.concat(await all(source))
}
