// SPDX-License-Identifier: BSD-2-Clause
//
// Task switches by hardware: how they begin, what they save and load, how they go back, and each
// kind of fault, in the old task or in the new one.

#include "guests/test-cpu/tasks.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/timer.h"
#include "guests/test-cpu/groups.h"
#include "guests/test-cpu/modes.h"

#define EFLAGS_NT  0x4000u
#define EFLAGS_RF  0x10000u
#define EFLAGS_VM  0x20000u
#define DR6_BT     0x8000u
#define CR4_PSE    0x10u
#define PDE_4MB    0x83u // present, writable, large
#define TYPE_BUSY  2u
#define CODE3      0x00CFFB000000FFFFul
#define DATA32     0x00CF93000000FFFFul
#define CODE32     0x00CF9B000000FFFFul
#define ABSENT     (~(1ul << 47))
#define PATTERN    0x10101010u

struct tss16 {
    uint16_t link, inner[6], ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
_Static_assert(sizeof(struct tss16) == 44, "TSS of 16 bits");

struct tasks_seen tasks_seen[TASKS_SEEN];
uint32_t tasks_count;
uint64_t tasks_gdt[TASKS_ENTRIES] __attribute__((aligned(16)));
uint64_t tasks_idt[256] __attribute__((aligned(16)));
uint32_t tasks_cr0, tasks_cr3, tasks_cr4;
uint32_t tasks_x2apic;
const void *tasks_action;
uint32_t tasks_word = 0x7A5C;
uint32_t tasks_regs16[4];

extern uint64_t boot_gdt[], boot_pml4[512];

static struct tss end, new, third;
static struct tss16 small;
static uint64_t ldt[1] = {DATA32};
static uint8_t stacks[4][4096] __attribute__((aligned(16)));
static uint32_t directories[2][1024] __attribute__((aligned(4096)));
static uint64_t pdpts[2][4] __attribute__((aligned(32)));
struct tss tasks_main;

static uint32_t address(const volatile void *at)
{
    return (uint32_t)(uintptr_t)at;
}

static uint64_t describe(uint32_t base, uint32_t limit, uint8_t access)
{
    uint64_t at = base;
    return (limit & 0xFFFF) | (at & 0xFFFFFF) << 16 | (uint64_t)access << 40 | (at >> 24) << 56;
}

static void gdt(unsigned int selector, uint64_t descriptor)
{
    tasks_gdt[selector / 8] = descriptor;
}

static uint64_t gate(uint16_t selector, uint32_t offset, uint8_t access)
{
    return (offset & 0xFFFF) | (uint64_t)selector << 16 | (uint64_t)access << 40 |
           (uint64_t)(offset >> 16) << 48;
}

static void task(struct tss *tss, const uint8_t *code, unsigned int stack)
{
    *tss = (struct tss){
        .inner = {{address(stacks[stack] + 2048), SEL_DATA}},
        .eip = address(code),
        .eflags = 2,
        .eax = PATTERN,
        .ecx = 2 * PATTERN,
        .edx = 3 * PATTERN,
        .ebx = 4 * PATTERN,
        .esp = address(stacks[stack] + 4096),
        .ebp = 5 * PATTERN,
        .esi = 6 * PATTERN,
        .edi = 7 * PATTERN,
        .es = SEL_DATA,
        .cs = SEL_CODE32,
        .ss = SEL_DATA,
        .ds = SEL_DATA,
        .io_map = sizeof(struct tss),
    };
}

// All as it is when nothing is wrong; the new task looks and goes back.
static void begin(const uint8_t *code)
{
    memset(tasks_seen, 0, sizeof(tasks_seen));
    tasks_count = 0;
    tasks_cr0 = tasks_cr3 = 0;
    tasks_cr4 = 0;
    memcpy(tasks_gdt, boot_gdt, TASKS_MAIN);
    gdt(TASKS_MAIN, describe(address(&tasks_main), sizeof(tasks_main) - 1, 0x89));
    gdt(TASKS_NEW, describe(address(&new), sizeof(new) - 1, 0x89));
    gdt(TASKS_THIRD, describe(address(&third), sizeof(third) - 1, 0x89));
    gdt(TASKS_END, describe(address(&end), sizeof(end) - 1, 0x89));
    gdt(TASKS_GATE, gate(TASKS_NEW, 0, 0x85));
    gdt(TASKS_LDT, describe(address(ldt), sizeof(ldt) - 1, 0x82));
    gdt(TASKS_USER, CODE3);
    for (unsigned int i = 0; i < 32; i++)
        tasks_idt[i] = gate(SEL_CODE32, address(tasks_stubs) + 16 * i, 0x8E);
    tasks_idt[TASKS_VECTOR] = gate(TASKS_NEW, 0, 0x85);
    task(&tasks_main, code, 0);
    task(&new, code, 1);
    task(&third, task_back, 2);
}

static void run(const uint8_t *action)
{
    tasks_action = action;
    mode_excursion(tasks_run);
    // TR is that of 64-bit mode again.
    boot_gdt[SEL_TSS / 8] &= ~((uint64_t)TYPE_BUSY << 40);
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
}

static bool busy(unsigned int selector)
{
    return tasks_gdt[selector / 8] >> 40 & TYPE_BUSY;
}

static uint32_t esp(const struct tasks_seen *seen)
{
    return seen->esp + 16;
}

// The new task has found itself as its TSS describes it.
static bool is_new(const struct tasks_seen *seen)
{
    return seen->vector == TASKS_NONE && (seen->tr & 0xFFFF) == TASKS_NEW && seen->eax == PATTERN &&
           seen->ecx == 2 * PATTERN && seen->edx == 3 * PATTERN && seen->ebx == 4 * PATTERN &&
           seen->ebp == 5 * PATTERN && seen->esi == 6 * PATTERN && seen->edi == 7 * PATTERN &&
           esp(seen) <= address(stacks[1] + 4096) && esp(seen) >= address(stacks[1] + 4088) &&
           (seen->cr0 & CR0_TS);
}

// And the main task itself, when it goes on, as it was.
static bool is_main(const struct tasks_seen *seen)
{
    return seen->vector == TASKS_NONE && (seen->tr & 0xFFFF) == TASKS_MAIN &&
           seen->ebx == 0xB3B3B3B3 && seen->ebp == 0xB5B5B5B5 && seen->esi == 0x56565656 &&
           seen->edi == 0xD7D7D7D7 && (seen->fs & 0xFFFF) == SEL_DATA &&
           !(seen->eflags & EFLAGS_NT);
}

static bool say(bool ok, const char *name)
{
    const struct tasks_seen *s = tasks_seen;
    return check(ok, name, "%u seen: eip %x vector %x error %x tr %x; %x %x %x %x, flags %x %x",
                 (unsigned int)tasks_count, (unsigned int)s[0].eip, (unsigned int)s[0].vector,
                 (unsigned int)s[0].error, (unsigned int)s[0].tr & 0xFFFF, (unsigned int)s[1].eip,
                 (unsigned int)s[1].vector, (unsigned int)s[1].error,
                 (unsigned int)s[1].tr & 0xFFFF, (unsigned int)s[0].eflags,
                 (unsigned int)tasks_main.eflags);
}

// There and back.
static void expect_nested(const char *name, uint32_t eip)
{
    say(tasks_count == 2 && is_new(&tasks_seen[0]) && (tasks_seen[0].eflags & EFLAGS_NT) &&
            is_main(&tasks_seen[1]) && tasks_main.eip == eip && new.link == TASKS_MAIN &&
            busy(TASKS_MAIN) && !busy(TASKS_NEW) && !(new.eflags & EFLAGS_NT),
        name);
}

// An exception, in the task of the TSS `tr`, before the instruction at `eip`.
static bool expect_fault(const char *name, unsigned int vector, uint32_t error, unsigned int tr,
                         uint32_t eip)
{
    const struct tasks_seen *seen = &tasks_seen[0];
    return say(tasks_count == 1 && seen->vector == vector && seen->error == error &&
                   (seen->tr & 0xFFFF) == tr && seen->eip == eip,
               name);
}

static void test_ways(void)
{
    begin(task_back);
    run(tasks_call);
    expect_nested("task.call", address(tasks_call_back));
    const struct tss *m = &tasks_main;
    check(m->eax == 0xA0A0A0A0 && m->ecx == 0xC1C1C1C1 && m->edx == 0xD2D2D2D2 &&
              m->ebx == 0xB3B3B3B3 && m->esi == 0x56565656 && m->edi == 0xD7D7D7D7 &&
              m->cs == SEL_CODE32 && m->gs == SEL_DATA,
          "task.saved", "EAX %x, EDI %x, CS %x", (unsigned int)m->eax, (unsigned int)m->edi,
          (unsigned int)m->cs);

    begin(task_end);
    run(tasks_jmp);
    say(tasks_count == 1 && is_new(&tasks_seen[0]) && !(tasks_seen[0].eflags & EFLAGS_NT) &&
            new.link == 0 && !busy(TASKS_MAIN) && busy(TASKS_NEW),
        "task.jmp");

    begin(task_back);
    run(tasks_gate);
    expect_nested("task.gate", tasks_main.eip);
    begin(task_back);
    run(tasks_int);
    expect_nested("task.int", address(tasks_int_back));

    begin(task_nested);
    run(tasks_call);
    say(tasks_count == 3 && (tasks_seen[0].tr & 0xFFFF) == TASKS_THIRD && third.link == TASKS_NEW &&
            is_new(&tasks_seen[1]) && is_main(&tasks_seen[2]) && !busy(TASKS_THIRD) &&
            !busy(TASKS_NEW) && busy(TASKS_MAIN),
        "task.nested");

    begin(task_end); // IRET, to a task that has been left before
    gdt(TASKS_NEW, tasks_gdt[TASKS_NEW / 8] | (uint64_t)TYPE_BUSY << 40);
    tasks_main.link = TASKS_NEW;
    run(tasks_iret);
    say(tasks_count == 1 && is_new(&tasks_seen[0]) && !busy(TASKS_MAIN) && busy(TASKS_NEW) &&
            !(tasks_main.eflags & EFLAGS_NT),
        "task.iret");
}

// A handler of NMIs that is a task: another one waits until it goes back.
static void test_nmi(void)
{
    if (cpu_on_bulkhead() && cpu_by_tcg()) {
        check_skip("task.nmi", "QEMU switches tasks without an exit: this IRET cannot be stepped");
        return;
    }
    if (!cpu_on_bulkhead() && !cpu_on_tcg()) {
        check_skip("task.nmi", "Bochs' APICs send themselves no NMI");
        return;
    }
    begin(task_nmi);
    tasks_idt[VEC_NMI] = gate(TASKS_NEW, 0, 0x85);
    run(tasks_nmi);
    say(tasks_count == 3 && is_new(&tasks_seen[0]) && (tasks_seen[1].tr & 0xFFFF) == TASKS_NEW &&
            tasks_seen[1].vector == TASKS_NONE && is_main(&tasks_seen[2]),
        "task.nmi");
}

static void test_events(void)
{
    begin(task_ud);
    tasks_idt[VEC_UD] = gate(TASKS_NEW, 0, 0x85);
    run(tasks_ud);
    say(tasks_count == 2 && is_new(&tasks_seen[0]) && is_main(&tasks_seen[1]), "task.exception");
    if (cpu_by_tcg())
        check_skip("task.exception-rf", "QEMU does not set RF");
    else
        check(tasks_main.eflags & EFLAGS_RF, "task.exception-rf", "flags %x",
              (unsigned int)tasks_main.eflags);

    begin(task_error);
    tasks_idt[VEC_GP] = gate(TASKS_NEW, 0, 0x85);
    run(tasks_gp);
    say(tasks_count == 1 && is_new(&tasks_seen[0]) && tasks_seen[0].top == 0xFFF8 &&
            esp(&tasks_seen[0]) == address(stacks[1] + 4092) &&
            tasks_main.eip == address(tasks_gp_at),
        "task.error-code");

    timer_init();
    tasks_x2apic = apic_mode() == APIC_MODE_X2APIC;
    begin(task_back);
    run(tasks_irq);
    apic_eoi();
    say(tasks_count == 2 && is_new(&tasks_seen[0]) && is_main(&tasks_seen[1]) &&
            tasks_main.eip > address(tasks_irq) && tasks_main.eip <= address(tasks_irq_end) &&
            (tasks_main.eflags & RFLAGS_IF),
        "task.interrupt");

    test_nmi();

    begin(task_end);
    tasks_main.inner[0].esp = address(stacks[0] + 4096);
    run(tasks_user);
    expect_fault("task.gate-privilege", VEC_GP, TASKS_VECTOR * 8 + 2, TASKS_MAIN,
                 address(tasks_user_int));
    begin(task_end);
    tasks_idt[TASKS_VECTOR] |= 3ul << 45;
    run(tasks_user);
    say(tasks_count == 1 && is_new(&tasks_seen[0]) && tasks_main.cs == (TASKS_USER | 3),
        "task.from-user");

    if (cpu_by_tcg()) {
        check_skip("task.t-flag", "QEMU does not know it");
        return;
    }
    begin(task_end);
    new.trap = 1;
    run(tasks_call);
    say(expect_fault("task.t-flag", VEC_DB, 0, TASKS_NEW, new.eip) &&
            (tasks_seen[0].dr6 & DR6_BT),
        "task.t-flag-dr6");
}

// Before the switch: faults of the old task, in which nothing has changed.
static void test_old_faults(void)
{
    static const struct {
        const char *name;
        uint8_t access, vector;
        uint16_t limit;
    } cases[] = {
        {"task.busy", 0x8B, VEC_GP, 0x67},
        {"task.not-present", 0x09, VEC_NP, 0x67},
        {"task.short", 0x89, VEC_TS, 0x66},
        {"task.no-tss", 0x82, VEC_GP, 0x67},
    };
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(task_end);
        gdt(TASKS_NEW, describe(address(&new), cases[i].limit, cases[i].access));
        run(tasks_call);
        expect_fault(cases[i].name, cases[i].vector, TASKS_NEW, TASKS_MAIN, address(tasks_call));
    }
    begin(task_end);
    tasks_main.link = TASKS_NEW; // which is not busy
    run(tasks_iret);
    expect_fault("task.iret-not-busy", VEC_TS, TASKS_NEW, TASKS_MAIN, address(tasks_iret_at));
}

// A handler that is a task of its own needs nothing of the one that failed.
static void handler_task(uint8_t vector)
{
    tasks_idt[vector] = gate(TASKS_THIRD, 0, 0x85);
    task(&third, task_error, 2);
}

// It has come, from the new task.
static void expect_handled(const char *name, uint32_t error)
{
    say(tasks_count == 1 && (tasks_seen[0].tr & 0xFFFF) == TASKS_THIRD &&
            tasks_seen[0].top == error && third.link == TASKS_NEW && busy(TASKS_NEW),
        name);
}

// Behind it: of the new one, before its first instruction.
static void test_new_faults(void)
{
    static const struct {
        const char *name;
        size_t field;
        uint16_t selector;
        uint64_t odd; // what TASKS_ODD is
        uint8_t vector;
    } cases[] = {
        {"task.ss-null", offsetof(struct tss, ss), 0, 0, VEC_TS},
        {"task.ss-code", offsetof(struct tss, ss), SEL_CODE32, 0, VEC_TS},
        {"task.ss-rpl", offsetof(struct tss, ss), SEL_DATA | 3, 0, VEC_TS},
        {"task.cs-data", offsetof(struct tss, cs), SEL_DATA, 0, VEC_TS},
        {"task.cs-not-present", offsetof(struct tss, cs), TASKS_ODD, CODE32 & ABSENT, VEC_NP},
        {"task.ds-system", offsetof(struct tss, ds), TASKS_LDT, 0, VEC_TS},
        {"task.ds-not-present", offsetof(struct tss, ds), TASKS_ODD, DATA32 & ABSENT, VEC_NP},
        {"task.gs-outside", offsetof(struct tss, gs), TASKS_ENTRIES * 8, 0, VEC_TS},
        {"task.ldt-data", offsetof(struct tss, ldt), SEL_DATA, 0, VEC_TS},
    };
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(task_end);
        gdt(TASKS_ODD, cases[i].odd);
        memcpy((uint8_t *)&new + cases[i].field, &cases[i].selector, 2);
        handler_task(cases[i].vector);
        run(tasks_call);
        expect_handled(cases[i].name, cases[i].selector & 0xFFFC);
    }
    if (cpu_by_tcg())
        check_skip("task.fault-eip", "QEMU saves the old task's EIP");
    else
        check(new.eip == address(task_end), "task.fault-eip", "%x", (unsigned int)new.eip);
    begin(task_end);
    gdt(TASKS_ODD, DATA32 & ABSENT);
    new.ss = TASKS_ODD;
    handler_task(cpu_by_tcg() ? VEC_NP : VEC_SS); // QEMU raises another exception
    run(tasks_call);
    expect_handled("task.ss-not-present", TASKS_ODD);
    begin(task_end);
    gdt(TASKS_ODD, 0x00409B000000FFFFul);
    new.cs = TASKS_ODD;
    run(tasks_call);
    expect_fault("task.code-limit", VEC_GP, 0, TASKS_NEW,
                 cpu_by_tcg() ? tasks_seen[0].eip : new.eip);
}

static void test_kinds(void)
{
    begin(task_back);
    new.ldt = TASKS_LDT;
    new.ds = 4;
    run(tasks_call);
    say(tasks_count == 2 && is_new(&tasks_seen[0]) && (tasks_seen[0].ds & 0xFFFF) == 4 &&
            (tasks_seen[0].ldtr & 0xFFFF) == TASKS_LDT && (tasks_seen[1].ldtr & 0xFFFF) == 0,
        "task.ldt");

    begin(task_end);
    *(volatile uint8_t *)(uintptr_t)REAL_BASE = 0xF4; // HLT: #GP in this mode
    new.eflags = EFLAGS_VM | 2;
    new.cs = REAL_BASE >> 4;
    new.eip = 0;
    new.ss = new.ds = new.es = 0x1234;
    run(tasks_call);
    say(expect_fault("task.vm86", VEC_GP, 0, TASKS_NEW, 0) &&
            (tasks_seen[0].cs & 0xFFFF) == REAL_BASE >> 4 && (tasks_seen[0].eflags & EFLAGS_VM),
        "task.vm86-state");

    begin(task_end);
    gdt(TASKS_NEW, describe(address(&small), sizeof(small) - 1, 0x81));
    gdt(TASKS_ODD, describe(address(task_16), 0xFFFF, 0x9B) | 1ul << 54);
    gdt(TASKS_ODD2, describe(address(stacks[1]), 0xFFF, 0x93));
    small = (struct tss16){.flags = 2, .ax = 0x1234, .sp = 0x800, .es = SEL_DATA, .cs = TASKS_ODD,
                           .ss = TASKS_ODD2, .ds = SEL_DATA};
    run(tasks_call);
    say(tasks_count == 1 && is_main(&tasks_seen[0]) && small.link == TASKS_MAIN &&
            (tasks_regs16[0] & 0xFFFF) == 0x1234 && (tasks_regs16[1] & 0xFFFF) == 0x800 &&
            (tasks_regs16[2] & 0xFFFF) == 0 && (tasks_regs16[3] & EFLAGS_NT) && small.ip != 0 &&
            small.ax == 0x1234,
        "task.16-bit");

    begin(task_back);
    run(tasks_debug);
    check((tasks_seen[0].dr7 & 0xFF) == 0xAA, "task.dr7", "%x", (unsigned int)tasks_seen[0].dr7);
    check(tasks_seen[0].cr2 == 0x12345678, "task.cr2", "%x", (unsigned int)tasks_seen[0].cr2);
}

// Two sets of page tables; by the second, low memory is at 1 GB too.
static void paging_on(bool pae)
{
    const uint64_t *pdpt = (const uint64_t *)(boot_pml4[0] & ~0xFFFul);
    begin(task_word);
    for (unsigned int k = 0; k < 2; k++) {
        for (unsigned int i = 0; i < 1024; i++)
            directories[k][i] = i << 22 | PDE_4MB;
        directories[k][256] = k == 0 ? 0 : PDE_4MB;
        for (unsigned int i = 0; i < 4; i++)
            pdpts[k][i] = (pdpt[k == 1 && i == 1 ? 0 : i] & ~0xFFFul) | PTE_P;
    }
    tasks_cr0 = (uint32_t)CR0_PG;
    tasks_cr4 = pae ? (uint32_t)CR4_PAE : CR4_PSE;
    tasks_cr3 = pae ? address(pdpts[0]) : address(directories[0]);
    tasks_main.cr3 = third.cr3 = tasks_cr3;
    new.cr3 = pae ? address(pdpts[1]) : address(directories[1]);
}

static void expect_other_tables(const char *name)
{
    say(tasks_count == 2 && tasks_seen[0].vector == TASKS_NONE && tasks_seen[0].eax == tasks_word &&
            tasks_seen[0].cr3 == new.cr3 && is_main(&tasks_seen[1]) &&
            tasks_seen[1].cr3 == tasks_cr3,
        name);
}

static void test_paging(void)
{
    paging_on(false);
    run(tasks_call);
    expect_other_tables("task.cr3");

    paging_on(false);
    gdt(TASKS_NEW, describe(address(&new) + TASKS_GIGABYTE, sizeof(new) - 1, 0x89));
    run(tasks_call);
    // QEMU 10 looks whether it may write before it reads.
    uint32_t write = cpu_by_tcg() ? tasks_seen[0].error & 2 : 0;
    say(expect_fault("task.page-fault", VEC_PF, write, TASKS_MAIN, address(tasks_call)) &&
            tasks_seen[0].cr2 - address(&new) - TASKS_GIGABYTE < sizeof(new) && !busy(TASKS_NEW),
        "task.page-fault-address");

    paging_on(true);
    run(tasks_call);
    expect_other_tables("task.cr3-pae");

    if (cpu_by_tcg() || !cpu_on_bulkhead()) {
        check_skip("task.pdpte", "QEMU does not check, and Bochs keeps the tables that it refuses");
        return;
    }
    paging_on(true);
    pdpts[1][2] |= 1ul << 8; // must be 0
    handler_task(VEC_GP);
    third.cr3 = tasks_cr3;
    run(tasks_call);
    expect_handled("task.pdpte", 0);
}

void test_tasks(void)
{
    test_ways();
    test_events();
    test_old_faults();
    test_new_faults();
    test_kinds();
    test_paging();
}
