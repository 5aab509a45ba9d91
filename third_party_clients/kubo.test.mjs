// kubo-rpc-client against /api/v0: what it adds has Kubo's CIDs, and comes back through cat, ls, pins and blocks.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

import { noise, site } from './content.mjs'
import { all, bytes, clientWith, modern, newClient } from './kubo_client.mjs'
import { cidOfDirectory, cidOfFile } from './oracle.mjs'

let kubo
before(async () => { kubo = await newClient('kubo') })

test('a file under the defaults of Kubo', async () => {
  for (const size of [0, 12, 262_144, 262_145, 3_000_000]) {
    const content = noise(size, size)
    const { cid, size: total } = await kubo.add(content)
    assert.equal(cid.toString(), await cidOfFile(content, 'unixfs-v0-2015'))
    assert.ok(total >= size)
    assert.deepEqual(await bytes(kubo.cat(cid)), content)
  }
})

test('a file under options for CIDs of version 1', async () => {
  const content = noise(2_500_000, 5)
  const { cid } = await kubo.add(content, modern)
  assert.equal(cid.toString(), await cidOfFile(content))
})

test('strings, streams of bytes and files with a path', async () => {
  const plain = await kubo.add('hello')
  assert.equal(plain.cid.toString(), await cidOfFile(Buffer.from('hello'), 'unixfs-v0-2015'))
  async function * pieces () {
    for (let at = 0; at < 10; at++) yield noise(100_000, at)
  }
  const streamed = await kubo.add(pieces(), modern)
  assert.equal((await bytes(kubo.cat(streamed.cid))).length, 1_000_000)
  const named = await kubo.add({ path: 'note.txt', content: 'hello' })
  assert.equal(named.path, 'note.txt')
  assert.deepEqual(named.cid, plain.cid)
})

test('directories, with and without one around them', async () => {
  const files = site()
  const added = await all(kubo.addAll(files, { ...modern, wrapWithDirectory: true }))
  const root = added.at(-1)
  assert.equal(root.path, '')
  assert.equal(root.cid.toString(), await cidOfDirectory(files))
  const inner = files.map((file) => ({ ...file, path: `top/${file.path}` }))
  const again = await all(kubo.addAll(inner, modern))
  assert.equal(again.at(-1).path, 'top')
  assert.deepEqual(again.at(-1).cid, root.cid)
  const paths = again.map((entry) => entry.path).sort()
  assert.deepEqual(paths, [...inner.map((file) => file.path), 'top', 'top/images', 'top/images/deep', 'top/images/deep/er'].sort())
})

test('ls and cat go by path', async () => {
  const files = site(3)
  const { cid } = (await all(kubo.addAll(files, { ...modern, wrapWithDirectory: true }))).at(-1)
  const entries = await all(kubo.ls(cid))
  assert.deepEqual(entries.map((entry) => [entry.name, entry.type]).sort(), [
    ['empty', 'file'], ['images', 'dir'], ['index.html', 'file'], ['with space & ünïcode 名前.txt', 'file']
  ])
  const html = entries.find((entry) => entry.name === 'index.html')
  assert.equal(html.size, files[0].content.length)
  assert.deepEqual(await bytes(kubo.cat(html.cid)), files[0].content)
  assert.deepEqual(await bytes(kubo.cat(`${cid}/images/deep/er/note.txt`)), Buffer.from('far down'))
  const large = files.find((file) => file.path === 'images/large.bin').content
  assert.deepEqual(await bytes(kubo.cat(`${cid}/images/large.bin`, { offset: 1_048_570, length: 20 })), large.subarray(1_048_570, 1_048_590))
})

test('pins are listed and removed', async () => {
  const { cid } = await kubo.add(noise(5000, 9), modern)
  const listed = await all(kubo.pin.ls())
  assert.ok(listed.some((pin) => pin.cid.equals(cid) && pin.type === 'recursive'))
  const [own] = await all(kubo.pin.ls({ paths: cid }))
  assert.ok(own.cid.equals(cid))
  assert.ok((await kubo.pin.rm(cid)).equals(cid))
  await assert.rejects(all(kubo.pin.ls({ paths: cid })), /is not pinned/)
  await assert.rejects(kubo.pin.rm(cid), /not pinned/)
})

test('blocks are the bytes of their CIDs', async () => {
  const content = noise(2_500_000, 11)
  const { cid } = await kubo.add(content, modern)
  const root = await kubo.block.get(cid)
  assert.deepEqual((await sha256.digest(root)).bytes, cid.multihash.bytes)
  assert.equal((await kubo.block.stat(cid)).size, root.length)
  const leaf = CID.createV1(0x55, await sha256.digest(content.subarray(0, 1 << 20)))
  assert.deepEqual(Buffer.from(await kubo.block.get(leaf)), content.subarray(0, 1 << 20))
})

test('only-hash tells the CID and pins nothing', async () => {
  const content = noise(3000, 13)
  const { cid } = await kubo.add(content, { onlyHash: true })
  assert.equal(cid.toString(), await cidOfFile(content, 'unixfs-v0-2015'))
  assert.ok(!(await all(kubo.pin.ls())).some((pin) => pin.cid.equals(cid)))
})

test('who answers', async () => {
  assert.match((await kubo.version()).version, /^\d+\.\d+/)
  const { id, agentVersion } = await kubo.id()
  assert.equal(id.type, 'Ed25519')
  assert.match(agentVersion, /^pinstripe\//)
})

test('errors say what is wrong', async () => {
  await assert.rejects(bytes(kubo.cat('/ipfs/bafkqaaa/nothing')), { name: 'HTTPError' })
  await assert.rejects(clientWith({}).add('hello'), /API key/)
})
