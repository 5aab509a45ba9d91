// kubo-rpc-client with whole DAGs: archives, CARs from account to account, progress; and keys as passwords.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'

import { noise, site } from './content.mjs'
import { all, bytes, clientWith, modern, newClient } from './kubo_client.mjs'
import { newKey } from './network.mjs'
import { cidOfDirectory } from './oracle.mjs'

let kubo
let folder
before(async () => {
  kubo = await newClient('kubo dag')
  folder = await mkdtemp(join(tmpdir(), 'pinstripe-kubo-'))
})
after(() => rm(folder, { recursive: true, force: true }))

test('a key is a password too', async () => {
  const key = await newKey('kubo password')
  const authorization = `Basic ${Buffer.from(`anybody:${key}`).toString('base64')}`
  const { cid } = await clientWith({ authorization }).add('with a password')
  const [pin] = await all(clientWith({ authorization: `Bearer ${key}` }).pin.ls({ paths: cid }))
  assert.ok(pin.cid.equals(cid))
})

test('progress is told while bytes come, and ends at all of them', async () => {
  const content = noise(5_000_000, 900)
  const told = []
  const { cid } = await kubo.add({ path: 'large', content }, { ...modern, progress: (sent, path) => told.push([sent, path]) })
  assert.ok(told.length > 0)
  assert.ok(told.every(([sent], at) => at === 0 || sent >= told[at - 1][0]), 'it never goes back')
  assert.deepEqual(told.at(-1), [content.length, 'large'])
  assert.deepEqual(await bytes(kubo.cat(cid)), content)
})

test('a directory is got as a tar, and packed', async () => {
  const files = site(91)
  const { cid } = (await all(kubo.addAll(files, { ...modern, wrapWithDirectory: true }))).at(-1)
  const plain = await bytes(kubo.get(cid, { archive: true }))
  const packed = await bytes(kubo.get(cid, { archive: true, compress: true, compressionLevel: 6 }))
  assert.ok(gunzipSync(packed).equals(plain))
  await writeFile(join(folder, 'got.tar'), plain)
  await promisify(execFile)('tar', ['-C', folder, '-xf', join(folder, 'got.tar')])
  for (const { path, content } of files) {
    assert.deepEqual(await readFile(join(folder, cid.toString(), path)), content, path)
  }
})

test('a DAG is exported, and imported by another account under the same root', async () => {
  const files = site(92)
  const { cid } = (await all(kubo.addAll(files, { ...modern, wrapWithDirectory: true }))).at(-1)
  const car = await bytes(kubo.dag.export(cid))
  const other = await newClient('kubo import')
  const imported = await all(other.dag.import([car]))
  assert.deepEqual(imported.map(({ root }) => [root.cid.toString(), root.pinErrorMsg]), [[await cidOfDirectory(files), '']])
  assert.ok((await all(other.pin.ls({ paths: cid })))[0].cid.equals(cid))
})
