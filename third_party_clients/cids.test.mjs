// Our CIDs are those of ipfs-unixfs-importer: files and directories around every edge of the profile unixfs-v1-2025.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { before, test } from 'node:test'
import { promisify } from 'node:util'

import { noise, site, zeros } from './content.mjs'
import { form, gateway, newKey, upload } from './network.mjs'
import { cidOfDirectory, cidOfFile } from './oracle.mjs'

const MIB = 1 << 20
// The profile's limits: links of a node, and the size of a directory's block above which it is sharded.
const LINKS_MAX = 1024
const SHARD_ABOVE = 256 * 1024

let key
before(async () => { key = await newKey('cids') })

const sizes = [0, 1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB - 7, 16 * MIB, 17 * MIB + 3]
for (const size of sizes) {
  test(`a file of ${size} bytes, as body and as form`, async () => {
    const content = noise(size, size)
    const expected = await cidOfFile(content)
    assert.equal((await upload(key, content)).cid, expected)
    assert.equal((await upload(key, form([{ path: 'name', content }]))).cid, expected)
  })
}

// A gigabyte of zeros is one block to store, and every node above it is there.
for (const leaves of [LINKS_MAX, LINKS_MAX + 1]) {
  test(`a file of ${leaves} leaves`, async () => {
    const expected = await cidOfFile(zeros(leaves * MIB))
    assert.equal((await upload(key, Readable.toWeb(Readable.from(zeros(leaves * MIB))))).cid, expected)
  })
}

async function asTar (files) {
  const folder = await mkdtemp(join(tmpdir(), 'pinstripe-tar-'))
  try {
    for (const { path, content } of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), content)
    }
    const tar = spawn('tar', ['-C', folder, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(tar, 'close')
    const answer = await upload(key, Readable.toWeb(tar.stdout), '?unpack=tar')
    assert.deepEqual(await ended, [0, null])
    return answer.cid
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function asForm (files) {
  return (await upload(key, form(files))).cid
}

const tarIsHere = await promisify(execFile)('tar', ['--version']).then(() => true, () => false)
const ways = tarIsHere ? { form: asForm, tar: asTar } : { form: asForm }
if (!tarIsHere) console.error('!! SKIPPED: tar streams are NOT compared, for there is no tar here')

// Files of one byte with names of 200 bytes or so.
function names (count, length = 200, longer = 0) {
  return Array.from({ length: count }, (_, index) => ({
    path: `${index}`.padStart(6, '0').padEnd(index < longer ? length + 1 : length, 'x'),
    content: Buffer.from('1')
  }))
}

// A directory whose single block has exactly `size` bytes: 4 for its kind, 246 for an entry, and what is left over
// goes into names that are one byte longer.
function blockOf (size) {
  const count = Math.floor((size - 4) / 246)
  return names(count, 200, (size - 4) % 246)
}

const directories = {
  'a few files and folders': site(),
  'a directory at the threshold': blockOf(SHARD_ABOVE),
  'a directory one byte above the threshold': blockOf(SHARD_ABOVE + 1),
  'a sharded directory within another': [...names(1500).map((file) => ({ ...file, path: `in/side/${file.path}` })), ...site(7)],
  'many short names, shards below shards': names(4000, 8)
}
for (const [name, files] of Object.entries(directories)) {
  test(name, async () => {
    const expected = await cidOfDirectory(files)
    for (const [way, send] of Object.entries(ways)) {
      assert.equal(await send(files), expected, `as ${way}`)
    }
  })
}

test('the directory at the threshold is a single block of just that length, and one more byte shards it', async () => {
  const root = async (size) => {
    const cid = await asForm(blockOf(size))
    return (await (await fetch(`${gateway}/ipfs/${cid}?format=raw`)).arrayBuffer()).byteLength
  }
  assert.equal(await root(SHARD_ABOVE), SHARD_ABOVE)
  assert.ok(await root(SHARD_ABOVE + 1) < SHARD_ABOVE / 2)
})
