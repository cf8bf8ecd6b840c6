// SPDX-License-Identifier: BSD-2-Clause
// What the console's process gets of the host: its serial port, as the config says, and its screen.
#include "libc/time.h"
#include "tests/unit/manager_world.h"

static const struct start_console *console_block(void)
{
    struct fake_object *process = fake_handle(manager.console.process);
    const struct fake_mapping *mapping = fake_mapped(process, START_VA);
    const struct start_block *block = (const void *)(fake.object[mapping->memory].view +
                                                     mapping->offset);
    assert_int_equal(block->role, START_CONSOLE);
    return &block->console;
}

static const struct fake_object *com_irq, *com2_irq;
static void (*look)(void);

static bool script_console(int at)
{
    if (at == 0) {
        look();
    }
    return script_two_off(at);
}

static void with_console(const char *console, void (*then)(void))
{
    static char text[600];
    com_irq = fake_handle(BOOT_HANDLE_COM1_IRQ);
    com2_irq = fake_handle(BOOT_HANDLE_COM2_IRQ);
    snprintf(text, sizeof(text), "%s[system]\nconsole = %s\n", two_vms, console);
    look = then;
    play(script_console, text, 0);
}

static void look_com4(void)
{
    const struct start_console *start = console_block();
    const struct fake_object *process = fake_handle(manager.console.process);
    assert_int_equal(start->port, 0x2e8);
    assert_int_equal(start->divisor, 12);
    assert_int_not_equal(start->irq, 0);
    assert_int_equal(com2_irq->bits, CONSOLE_BIT_IRQ);
    assert_int_equal(com_irq->bits, 0);
    assert_int_equal(process->port_first, 0x2e8);
    assert_int_equal(process->port_count, 8);
    expect("kernel: 2 cores"); // which was said on COM1
}

static void look_number(void)
{
    const struct start_console *start = console_block();
    assert_int_equal(start->port, 0xe0c0);
    assert_int_equal(start->divisor, 1);
    assert_int_equal(start->irq, 0); // polled
    assert_int_equal(com_irq->bits | com2_irq->bits, 0);
}

static void look_none(void)
{
    const struct fake_object *process = fake_handle(manager.console.process);
    assert_int_equal(console_block()->port, 0);
    assert_int_equal(console_block()->irq, 0);
    assert_int_equal(process->port_count, 0);
    assert_int_equal(com_irq->bits | com2_irq->bits, 0);
}

static void look_pci(void)
{
    const struct fake_object *process = fake_handle(manager.console.process);
    const struct fake_object *self = &fake.object[1];
    assert_int_equal(console_block()->port, 0xc010);
    assert_int_equal(console_block()->irq, 0);
    assert_int_equal(process->port_first, 0xc010);
    assert_int_equal(self->port_count, 0); // the manager has none any more
    assert_int_equal(ports_refused, 0);
}

static void test_com4(void **state)
{
    (void)state;
    with_console("com4,9600", look_com4);
}

static void test_port_by_number(void **state)
{
    (void)state;
    with_console("0xe0c0", look_number);
}

static void test_no_port(void **state)
{
    (void)state;
    with_console("none", look_none);
    assert_null(strstr(said, "kernel: 2 cores"));
}

// The second function of device 1, behind a parallel port and a 16550 in memory; its ports are
// switched on, and its status is left alone.
static void test_pci_port(void **state)
{
    (void)state;
    pci_config[0] = 0x12378086; // device 0: a host bridge, one function
    pci_config[2] = 0x06000000;
    pci_config[3] = 0;
    pci_config[16] = 0x00021b36; // device 1, two functions: registers in memory
    pci_config[18] = 0x07000201;
    pci_config[19] = 0x00800000;
    pci_config[20] = 0xfebf1000;
    pci_config[24] = 0x00021b36;
    pci_config[25] = 0xffff0002;
    pci_config[26] = 0x07000201;
    pci_config[28] = 0xc011;
    with_console("pci", look_pci);
    assert_int_equal(pci_config[25], 0x0003);
    expect("console: the 16550 at PCI 00:01.0 has no I/O ports: passed over\r\n");
    expect("console: the 16550 at PCI 00:01.1, I/O port 0xc010, polled\r\n");
}

static void test_pci_port_missing(void **state)
{
    (void)state;
    with_console("pci", look_none);
    expect("console: there is no 16550 on PCI (class 07-00-02): no serial port\r\n");
}

static void look_screen(void)
{
    const struct start_console *start = console_block();
    uint32_t rights;
    assert_ptr_equal(fake_slot(fake_handle(manager.console.process), start->screen, &rights),
                     fake_handle(BOOT_HANDLE_SCREEN));
    assert_int_equal(rights, RIGHT_READ | RIGHT_WRITE);
    assert_int_equal(start->mode.width, 1280);
    assert_int_equal(start->said_len, 14);
    assert_memory_equal(start->said, "2 cores\nready\n", 14);
}

static void test_screen(void **state)
{
    (void)state;
    boot.screen = (struct boot_screen){.pitch = 5120, .width = 1280, .height = 800};
    fake_module(BOOT_HANDLE_SCREEN, "pixels", 6);
    fake.handle[BOOT_HANDLE_SCREEN].rights = RIGHT_READ | RIGHT_WRITE | RIGHT_COPY;
    with_console("com1", look_screen);
    assert_null(strstr(said, "kernel: 2 cores"));
}

// Without a config it is COM1's.
static void test_no_config(void **state)
{
    (void)state;
    assert_int_equal(manager_run(&manager, &boot), 1);
    assert_int_equal(console_block()->port, 0x3f8);
    assert_int_equal(console_block()->divisor, 1);
}

// Of a VM, to see that it is left alone; and of the first console.
static uint32_t vm_id, console_id, handles;

static uint32_t handles_used(void)
{
    uint32_t used = 0;
    for (uint32_t h = 0; h < FAKE_SLOTS; h++) {
        used += fake.handle[h].object != 0;
    }
    return used;
}

// It faults; then it ends at once, and again, until it stays off.
static bool script_console_dies(int at)
{
    struct fake_object *process = fake_handle(manager.console.process);
    switch (at) {
    case 0:
        vm_id = process_of(0)->status.id;
        handles = handles_used();
        fake_process_end(process, PROCESS_FAULT, 0);
        return true;
    case 1 ... 5:
        if (at == 2) {
            manager.console_start_tsc -= ns_to_tsc(20000000000ull); // this one has lived
        }
        assert_int_equal(console_block()->again, 1);
        assert_int_equal(console_block()->port, 0x2f8);
        assert_int_equal(process->port_first, 0x2f8);
        assert_int_equal(com2_irq->bits, CONSOLE_BIT_IRQ);
        assert_int_equal(handles_used(), handles);
        assert_int_equal(process_of(0)->status.id, vm_id);
        fake_process_end(process, PROCESS_EXITED, 1);
        return true;
    case 6:
        assert_false(manager.console_runs);
        assert_int_equal(manager.console.process, 0);
        assert_non_null(strstr(fake.log, "manager: the console ends again and again"));
        end_vm(0, VMM_END_POWEROFF);
        return true;
    default:
        end_vm(1, VMM_END_POWEROFF);
        return at < 8;
    }
}

static void test_console_dies(void **state)
{
    static char text[600];
    (void)state;
    com2_irq = fake_handle(BOOT_HANDLE_COM2_IRQ);
    snprintf(text, sizeof(text), "%s[system]\nconsole = com2\n", two_vms);
    play(script_console_dies, text, 0);
    expect("the console was started again: what it remembered is lost\r\n");
}

// By the monitor: what is left of the first one's end ends nobody else.
static bool script_console_restart(int at)
{
    switch (at) {
    case 0:
        console_id = fake_handle(manager.console.process)->status.id;
        type("console restart\r");
        return true;
    case 1:
        assert_int_equal(console_block()->again, 1);
        fake_signal(fake_handle(manager.event), MANAGER_BIT_CONSOLE);
        console_id = fake_handle(manager.console.process)->status.id;
        return true;
    case 2:
        assert_true(manager.console_runs);
        assert_int_equal(fake_handle(manager.console.process)->status.id, console_id);
        return script_two_off(0);
    default:
        return script_two_off(at - 2);
    }
}

static void test_console_restart(void **state)
{
    (void)state;
    play(script_console_restart, two_vms, 0);
    expect("the console was started again: what it remembered is lost\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_com4), TEST(test_port_by_number), TEST(test_no_port), TEST(test_pci_port),
        TEST(test_pci_port_missing), TEST(test_screen), TEST(test_no_config),
        TEST(test_console_dies), TEST(test_console_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
