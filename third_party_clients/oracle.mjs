// What ipfs-unixfs-importer makes of files: the CIDs that ours must equal. Stores nothing.

import { BlackHoleBlockstore } from 'blockstore-core'
import { importer } from 'ipfs-unixfs-importer'

/** The CID of a single file (bytes, or an iterable of them) under a profile of IPIP-0499. */
export async function cidOfFile (content, profile = 'unixfs-v1-2025') {
  return lastCid([{ content }], { profile })
}

/** The CID of the directory that holds `files`, each `{ path, content }`. */
export async function cidOfDirectory (files, profile = 'unixfs-v1-2025') {
  return lastCid(files, { profile, wrapWithDirectory: true })
}

async function lastCid (source, options) {
  let last
  for await (const entry of importer(source, new BlackHoleBlockstore(), options)) {
    last = entry.cid
  }
  return last.toString()
}
