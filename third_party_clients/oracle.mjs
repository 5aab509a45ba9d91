// What ipfs-unixfs-importer makes of files: the CIDs that ours must equal. Stores nothing.

import { BlackHoleBlockstore } from 'blockstore-core'
import { importer } from 'ipfs-unixfs-importer'

/** What Kubo does when it is told only `cid-version=1`: the older profile with raw leaves. */
export const kuboV1 = 'kubo-v1'

/** The CID of a single file (bytes, or an iterable of them) under a profile of IPIP-0499, or `kuboV1`. */
export async function cidOfFile (content, profile = 'unixfs-v1-2025') {
  return lastCid([{ content }], { profile })
}

/** The CID of the directory that holds `files`, each `{ path, content }`. */
export async function cidOfDirectory (files, profile = 'unixfs-v1-2025') {
  return lastCid(files, { profile, wrapWithDirectory: true })
}

async function lastCid (source, { profile, ...options }) {
  const asked = profile === kuboV1 ? { profile: 'unixfs-v0-2015', cidVersion: 1, rawLeaves: true } : { profile }
  let last
  for await (const entry of importer(source, new BlackHoleBlockstore(), { ...asked, ...options })) {
    last = entry.cid
  }
  return last.toString()
}
