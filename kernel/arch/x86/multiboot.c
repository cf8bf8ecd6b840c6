// SPDX-License-Identifier: BSD-2-Clause
// What GRUB left: memory map, modules, RSDP (Multiboot2 specification, "Boot information format").
// Everything in use is cut out of the map before a single frame is handed out: GRUB puts modules
// low.
#include "kernel/arch/x86/x86.h"
#include "kernel/core/boot.h"

#define MULTIBOOT2_MAGIC 0x36d76289u

enum { TAG_END = 0, TAG_MODULE = 3, TAG_MMAP = 6, TAG_OLD_RSDP = 14, TAG_NEW_RSDP = 15 };

struct tag { uint32_t type, size; };
struct tag_module { struct tag tag; uint32_t start, end; char name[]; };
struct tag_mmap { struct tag tag; uint32_t entry_size, version; };
struct mmap_entry { uint64_t base, length; uint32_t type, reserved; };

struct boot_memory boot_memory;
extern char kernel_start[], kernel_end[];

static void add_usable(uint64_t base, uint64_t end)
{
    base = align_up(base, PAGE_SIZE);
    end = align_down(end, PAGE_SIZE);
    if (base < end && boot_memory.usable_count < ARRAY_SIZE(boot_memory.usable))
        boot_memory.usable[boot_memory.usable_count++] = (struct ram_range){ base, end };
}

static void cut(uint64_t base, uint64_t end)
{
    base = align_down(base, PAGE_SIZE);
    end = align_up(end, PAGE_SIZE);
    for (uint32_t i = 0; i < boot_memory.usable_count; i++) {
        struct ram_range *r = &boot_memory.usable[i];
        if (end <= r->base || base >= r->end)
            continue;
        uint64_t behind = r->end;
        if (base > r->base) {
            r->end = base;
            if (end < behind)
                add_usable(end, behind);
        } else {
            r->base = min_u64(end, behind);
        }
    }
}

static void read_mmap(const struct tag_mmap *t)
{
    const uint8_t *p = (const uint8_t *)(t + 1), *end = (const uint8_t *)t + t->tag.size;
    uint32_t size = t->entry_size;
    for (; size >= sizeof(struct mmap_entry) && p + size <= end; p += size) {
        const struct mmap_entry *e = (const struct mmap_entry *)p;
        if (e->type != 1 || e->base >= DIRECT_MAX) // other types, known or not: reserved
            continue;
        uint64_t stop = min_u64(e->base + e->length, DIRECT_MAX);
        add_usable(e->base, stop);
        boot_memory.ram_end = max_u64(boot_memory.ram_end, stop);
    }
}

static void read_module(const struct tag_module *t, struct boot_facts *facts)
{
    if (facts->modules == BOOT_MODULE_MAX) {
        log_print("boot: more than %u modules: '%s' is left out\n", BOOT_MODULE_MAX, t->name);
        return;
    }
    struct boot_module_fact *m = &facts->module[facts->modules++]; // all zeros
    uint32_t i = 0, most = sizeof(m->name) - 1;
    for (; i < most && t->name[i]; i++)
        m->name[i] = t->name[i];
    if (t->name[i])
        log_print("boot: module name '%s' is longer than %u characters\n", t->name, most);
    m->hpa = HPA(t->start);
    m->bytes = t->end - t->start;
}

static void find_trampoline(void)
{
    for (uint32_t i = 0; i < boot_memory.usable_count; i++) {
        uint64_t base = max_u64(boot_memory.usable[i].base, 0x1000);
        uint64_t end = min_u64(boot_memory.usable[i].end, 0x9f000);
        if (end >= base + PAGE_SIZE)
            boot_memory.trampoline = end - PAGE_SIZE;
    }
}

void multiboot_parse(uint32_t magic, uint32_t info, struct boot_facts *facts)
{
    if (magic != MULTIBOOT2_MAGIC)
        panic("not started by a Multiboot2 loader (EAX is %x, not %x)", magic, MULTIBOOT2_MAGIC);
    const uint8_t *base = arch_ptr(HPA(info));
    uint32_t total = *(const uint32_t *)base;
    for (uint32_t at = 8; at + 8 <= total;) {
        const struct tag *t = (const struct tag *)(base + at);
        if (t->type == TAG_END || t->size < 8)
            break;
        if (t->type == TAG_MMAP)
            read_mmap((const struct tag_mmap *)t);
        else if (t->type == TAG_MODULE)
            read_module((const struct tag_module *)t, facts);
        else if (t->type == TAG_NEW_RSDP || (t->type == TAG_OLD_RSDP && !boot_memory.rsdp))
            boot_memory.rsdp = t + 1;
        at += (uint32_t)align_up(t->size, 8);
    }
    cut(info, info + total);
    for (uint32_t i = 0; i < facts->modules; i++)
        cut(facts->module[i].hpa.v, facts->module[i].hpa.v + facts->module[i].bytes);
    find_trampoline();
    cut(0, 1u << 20); // real-mode data, EBDA, the trampoline: not worth handing out
    cut((uint64_t)kernel_start - KERNEL_VMA, (uint64_t)kernel_end - KERNEL_VMA);
}
